# SPDX-License-Identifier: LGPL-2.1-or-later
#
# gnulib's rules for all files of the repository, and some of our own. Each
# rule sc_NAME is the test of that name in the suite syntax-check:
#     make -f build-aux/syntax-check.mk sc_NAME

srcdir = .
gnulib_dir = /usr/share/gnulib
PACKAGE = libvirt-revisions
VERSION = 0
_build-aux = build-aux

include $(gnulib_dir)/top/maint.mk

VC_LIST = build-aux/list-files
VC_LIST_ALWAYS_EXCLUDE_REGEX = ^(COPYING\.LESSER|patches/.*\.patch|po/.*\.pot?|docs/.*\.png)$$

rules:
	@sed -n 's/^\(sc_[a-zA-Z0-9_-]*\):.*/\1/p' $(gnulib_dir)/top/maint.mk \
	  build-aux/syntax-check.mk | grep -Fxv $(addprefix -e ,$(not_ours)) | sort -u

# About GNU releases, Autotools and Texinfo; about gnulib modules that GLib
# stands in for; or rules that libvirt's own file has in its own way.
not_ours = \
  sc_bindtextdomain \
  sc_changelog \
  sc_copyright_check \
  sc_cross_check_PATH_usage_in_tests \
  sc_file_system \
  sc_immutable_NEWS \
  sc_indent \
  sc_po_check \
  sc_prohibit_always-defined_macros \
  sc_prohibit_gnu_make_extensions \
  sc_prohibit_stat_st_blocks \
  sc_prohibit_strcmp \
  sc_prohibit_undesirable_word_seq \
  sc_require_config_h \
  sc_require_config_h_first \
  sc_require_test_exit_idiom \
  sc_tight_scope \
  sc_two_space_separator_in_usage \
  sc_unmarked_diagnostics \
  sc_unportable_grep_q

# Python's sentences that have "error(" in them.
exclude_file_name_regexp--sc_error_message_period = \.py$$
exclude_file_name_regexp--sc_error_message_uppercase = \.py$$

# Follows a process with ptrace, knows nothing of GLib, and is never installed.
only_a_tool = ^tests/functional/stepper\.c$$
exclude_file_name_regexp--sc_prohibit_atoi_atof = $(only_a_tool)
exclude_file_name_regexp--sc_prohibit_magic_number_exit = $(only_a_tool)
exclude_file_name_regexp--sc_prohibit_path_max_allocation = $(only_a_tool)
exclude_file_name_regexp--sc_useless_cpp_parens = $(only_a_tool)

# ---- our own

OUR_C = ^src/.*\.[ch]$$

sc_spdx:
	@$(VC_LIST_EXCEPT) | grep -Ev '\.(xml|md|json|txt|sha256)$$|(^|/)(series|POTFILES|LINGUAS)$$' \
	  | xargs grep -L 'SPDX-License-Identifier: LGPL-2\.1-or-later' \
	  | grep . && { echo 'no SPDX line in these' >&2; exit 1; } || :

# Positions can change places in a translation.
sc_positional_arguments:
	@prohibit='_\(.*"[^"]*%[^%1-9"]' \
	in_vc_files='$(OUR_C)' \
	halt='write %1$$s, not %s, in messages' \
	  $(_sc_search_regexp)

sc_glib_allocation:
	@prohibit='\<(malloc|calloc|realloc|strdup|strndup|asprintf|sprintf|strcpy|strcat|alloca) *\(' \
	in_vc_files='$(OUR_C)' \
	halt='use the functions of GLib' \
	  $(_sc_search_regexp)

# A shell would see the names of volumes.
sc_no_shell:
	@prohibit='\<(system|popen) *\(|"(/bin/)?(ba)?sh"' \
	in_vc_files='$(OUR_C)' \
	halt='use virCommand, without a shell' \
	  $(_sc_search_regexp)

# Names can be exchanged between a check and a use.
# What is open only as a place, with O_PATH, has no such call; its name below
# /proc/self/fd is as good.
exclude_file_name_regexp--sc_no_chmod_by_name = storage_fspool_(archive_(apply|attr)|tree_attr)\.c$$
sc_no_chmod_by_name:
	@prohibit='\<(chown|chmod|lchown|setxattr|getxattr|listxattr|removexattr) *\(' \
	in_vc_files='^src/storage/.*\.c$$' \
	halt='use the call that takes a descriptor' \
	  $(_sc_search_regexp)

sc_tabs:
	@prohibit='	' \
	in_vc_files='\.(c|h|py|build|rng|xml|sh)$$' \
	halt='indent with spaces' \
	  $(_sc_search_regexp)

sc_sizes:
	@$(VC_LIST_EXCEPT) | xargs build-aux/check-sizes

sc_potfiles:
	@scripts/update-po --check
