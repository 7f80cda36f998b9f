# SPDX-License-Identifier: LGPL-2.1-or-later
#
# libvirt's own rules, for our files in its tree. Each rule sc_NAME is the test
# "libvirt NAME" in the suite syntax-check:
#     make -C subprojects/libvirt-9.0.0 -f "$PWD/build-aux/libvirt-rules.mk" sc_NAME

top_srcdir = .
top_builddir = .
PYTHON = /usr/bin/python3
PERL = perl
GREP = grep
SED = sed
AWK = awk

include build-aux/syntax-check.mk

VC_LIST = { find src/conf src/remote -type l -name '*.[ch]'; find src/storage/revisions/ -name '*.[ch]'; }

# po/ is ours to look after, for our files: build-aux/syntax-check.mk.
not_ours = sc_po_check

rules:
	@sed -n 's/^\(sc_[a-zA-Z0-9_-]*\):.*/\1/p' build-aux/syntax-check.mk \
	  | grep -Fxv $(addprefix -e ,$(not_ours)) | sort -u

# A directory of 100,000 entries is read relative to its descriptor, and without
# a stat of each; the type that readdir() gives is only a hint there.
exclude_file_name_regexp--sc_prohibit_readdir = storage_(reflink_scan|fspool_place)\.c$$
exclude_file_name_regexp--sc_prohibit_dirent_d_type = storage_(reflink_scan|fspool_(place|tree_.*))\.c$$
# A short write is for libarchive to finish.
exclude_file_name_regexp--sc_avoid_write = storage_fspool_archive_output\.c$$
# These are named in comments.
exclude_file_name_regexp--sc_prohibit_strtol = storage_revision_meta_text\.c$$
exclude_file_name_regexp--sc_prohibit_qsort = storage_revision_policy\.c$$
# An array of bool with an index that is cast to int.
exclude_file_name_regexp--sc_prohibit_int_assign_bool = storage_revision_meta_text\.c$$
# Those of openat(), which are an int.
exclude_file_name_regexp--sc_flags_usage = storage_reflink_(file|volume)\.[ch]$$
