# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which behaviour tests are not for every pool type, and why.

Each test runs on reflink and on qubes-thin, unless it stands here. A name of a
test with a parameter in brackets leaves out that one only. The files
test_thin_*.py are for qubes-thin alone, test_fspool_*.py for no image at all,
and test_guest_*.py for a guest.
"""

import os
import re

THIN_FILES = "test_thin_"
TREE_FILES = "test_fspool_"
GUEST_FILES = "test_guest_"

# What is not so, or not there, with logical volumes. In each reason: what is
# instead, or where that is tested.
REFLINK_ONLY = {
    "Names have no '/', and other limits: test_thin_names.py.": {
        "test_names.py": """
            test_nested_name_makes_folders test_nested_name_survives_refresh
            test_nested_life_cycle test_deleted_nested_volume_leaves_no_file
            test_unusual_name_works test_name_that_collides_with_own_files_is_refused
            test_collision_is_refused_for_clones_too test_overlong_part_is_refused
            test_name_whose_revision_would_not_fit_is_refused
            test_overlong_path_is_refused test_longest_pin_word_works
            test_word_for_volume_with_at_in_folder_is_refused
            test_name_in_the_way_as_folder_is_refused
            test_name_in_the_way_as_folder_of_a_later_file_is_refused
            test_volume_in_such_a_folder_can_be_used""",
        "test_clone.py": "test_prefer_new_clone_to_existing_folder",
        "test_concurrency.py": "test_folder_that_is_emptied_during_a_create",
        "test_xml.py": """test_names_with_slash_are_valid
            test_special_characters_are_escaped""",
    },
    "Volumes are raw, nothing else: test_thin_names.py.": {
        "test_chain.py": None,
        "test_clone.py": """test_format_is_kept test_other_format_is_refused
            test_start_is_no_clone_of_another_format""",
        "test_domain_lifecycle.py": """test_internal_snapshot_is_kept
            test_transient_disk_leaves_nothing""",
        "test_domains.py": "test_machine_on_an_overlay",
        "test_create.py": """test_qcow2_volume test_qcow2_over_raw_is_an_overlay
            test_prealloc_metadata_for_qcow2""",
        "test_documents.py": """test_backing_store_of_an_overlay_is_kept
            test_cluster_size_of_qcow2
            test_allocation_of_a_qcow2_volume_with_a_new_size_is_refused""",
        "test_inuse.py": "test_used_qcow2_head_refuses",
        "test_pool.py": "test_capabilities_name_the_formats",
        "test_resize.py": """test_qcow2_grows_inside
            test_shrink_never_probes_guest_data""",
        "test_streams.py": """test_upload_never_guesses_a_format
            test_upload_of_no_qcow2_image_is_refused
            test_size_of_what_is_no_qcow2_image""",
        "test_wipe.py": """test_wiped_qcow2_is_a_usable_image
            test_no_format_probing_after_a_wipe""",
        "test_xml.py": """test_chain_of_a_qcow2_overlay
            test_missing_chain_member""",
    },
    "No machine can change the size of a logical volume.": {
        "test_clone.py": """test_clone_of_what_has_grown_is_not_cut
            test_clone_of_qcow2_that_has_grown_is_not_cut""",
        "test_lifecycle.py": """
            test_volatile_volume_has_the_size_its_head_has_by_now""",
        "test_resize.py": """
            test_live_copy_that_its_machine_has_grown_is_not_cut
            test_head_that_its_machine_has_grown_is_not_cut
            test_qcow2_that_was_grown_is_not_cut
            test_delta_is_against_the_size_it_has_by_now
            test_size_it_has_by_now_succeeds""",
        "test_wipe.py": "test_wipe_keeps_the_size_it_has_by_now",
    },
    "Logical volumes are not opened to be removed.": {
        "test_delete.py": """test_many_revisions_go_with_it
            test_one_of_many_revisions_in_use_refuses""",
    },
    "Sizes are whole extents, and never zero: test_thin_pool.py.": {
        "test_create.py": "test_zero_capacity_works test_odd_capacity_is_kept",
        "test_resize.py": "test_same_odd_size_succeeds test_zero_with_shrink",
        "test_inuse.py": """
            test_loop_device_without_a_size_learns_of_one""",
    },
    "Thin volumes take space when they are written, not before.": {
        "test_create.py": """test_allocation_is_preallocated
            test_partial_allocation test_allocation_without_space_is_refused""",
        "test_resize.py": "test_grow_with_allocation",
    },
    "Owner, mode and label of a device node are udev's.": {
        "test_guest_labels.py": None,
        "test_create.py": """test_image_mode_is_0600
            test_permissions_of_the_document_are_taken
            test_permissions_stay_over_a_commit""",
        "test_lifecycle.py": "test_start_takes_permissions_over",
        "test_qubes_hazards.py": """
            test_h15_n08_read_only_file_goes_through_a_cycle""",
        "test_revisions.py": "test_redefine_does_not_change_permissions",
        "test_streams.py": "test_upload_keeps_the_permissions",
        "test_wipe.py": "test_wipe_keeps_permissions",
    },
    "A snapshot costs the same for any volume: nothing is made ahead.": {
        "test_precache.py": None,
        "test_adoption.py": "test_stale_precache_is_not_used",
        "test_lifecycle.py": """
            test_unwritten_live_copy_is_dropped_after_precache
            test_precache_is_made_after_a_commit test_precache_is_not_listed
            test_start_takes_the_precache test_stale_precache_is_not_used
            test_foreign_precache_is_not_used
            test_precache_goes_with_the_volume""",
        "test_pool.py": """
            test_no_volume_is_missing_while_precaches_are_made
            test_stopped_pool_is_left_alone""",
        "test_resize.py": "test_start_after_resize_has_the_new_size",
        "test_wipe.py": "test_wipe_drops_the_precache",
    },
    "No times, links, inodes, folders, attributes: the hostile and the "
    "adopted of thin pools is in test_thin_hostile.py, test_thin_adoption.py.": {
        "test_adoption.py": None,
        "test_create.py": """test_snapshot_volume_is_no_hard_link
            test_symlink_in_the_way_is_not_followed""",
        "test_delete.py": """test_only_own_files_go
            test_what_has_gone_already_is_deleted
            test_folder_that_has_gone_already_is_deleted
            test_part_that_has_gone_already_is_deleted""",
        "test_hostile.py": None, "test_subvolumes.py": None,
        "test_lifecycle.py": """test_commit_switches_by_rename
            test_write_that_keeps_the_times_is_committed""",
        "test_qubes_hazards.py": """
            test_h6_n06_stale_staging_is_removed_at_start
            test_h6_n06_stale_staging_is_removed_at_refresh
            test_h6_staging_that_a_process_holds_is_kept
            test_h12_n17_failed_start_leaves_nothing_dirty
            test_h14_file_made_since_the_refresh_is_not_overwritten
            test_h14_live_file_made_since_the_refresh_is_not_overwritten
            test_n15_sectors_of_4096_bytes test_n18_moved_pool_keeps_everything
            test_n19_foreign_locale
            test_n20_five_hundred_volumes_with_revisions
            test_r25_nothing_is_copied_by_a_cycle
            test_h9_next_id_in_use_by_an_unfinished_commit
            test_rolling_back_is_safe_while_a_guest_runs
            test_h17_prune_comes_after_the_switch""",
        "test_revisions.py": """test_retention_goes_by_id_not_by_clock
            test_old_file_times_do_not_matter test_ten_commits_in_a_second""",
    },
    "Whoever has a volume open is a user, and no path leads to another.": {
        "test_image_locks.py": None,
        "test_inuse.py": """test_loop_device_is_known_without_its_path
            test_used_head_with_another_link_keeps_its_inode
            test_reader_of_a_head_with_another_link_allows_a_redefine
            test_loop_device_of_another_namespace
            test_loop_device_that_gets_another_file
            test_loop_device_whose_file_is_exchanged
            test_read_only_loop_device_allows_a_commit
            test_clone_has_what_the_writer_wrote
            test_open_image_is_not_copied_where_it_cannot_be_cloned
            test_open_source_starts_no_snapshot_where_it_cannot_be_cloned
            test_open_image_is_not_copied_to_another_pool
            test_open_image_is_not_copied_to_a_stock_pool
            test_copy_of_an_open_image_is_crash_consistent
            test_qemu_can_open_after_every_operation
            test_retention_defers_a_used_revision[loop]""",
        "test_resize.py": """test_loop_device_learns_of_it
            test_loop_device_keeps_a_head_from_shrinking
            test_loop_device_over_a_link_learns_of_it""",
    },
    "The pool is a volume group, no directory: test_thin_pool.py.": {
        "test_clone.py": "test_copy_in_a_pool_that_copies_shows_progress",
        "test_held.py": "test_pool_is_not_stopped_while_data_is_copied",
        "test_pool.py": """test_build_makes_the_directory
            test_build_takes_the_permissions
            test_build_of_an_existing_directory_keeps_it
            test_start_without_directory_fails
            test_start_with_a_file_in_place_fails test_create_with_build
            test_delete_removes_the_directory
            test_delete_keeps_a_directory_with_volumes
            test_capacity_is_the_file_systems
            test_capacity_is_read_after_each_change
            test_clones_larger_than_the_free_space
            test_file_system_that_cannot_clone_is_refused
            test_features_required_no test_required_no_keeps_copies_sparse
            test_required_no_on_a_file_system_that_can
            test_probe_leaves_nothing test_nocow_directory_is_built_with_cow
            test_nocow_image_gets_a_clear_error
            test_second_pool_on_the_directory_is_refused
            test_stock_pool_on_the_directory_is_refused
            test_pool_on_a_stock_pools_directory_is_refused
            test_sources_are_found test_sources_by_virsh test_list_by_type
            test_other_types_say_that_they_are_missing
            test_unmount_after_a_stop_while_a_precache_is_made
            test_unmount_after_a_stop_while_images_are_removed
            test_n16_file_system_that_is_absent_at_daemon_start""",
        "test_virsh.py": """test_pool_build_makes_the_directory
            test_pool_build_keeps_what_is_there test_pool_build_takes_one_flag
            test_pool_delete test_pool_delete_keeps_volumes""",
    },
    "The size of a block device is not what was last written to it.": {
        "test_streams.py": "test_sparse_upload_sets_the_size",
    },
    "A wipe exchanges what is below the volume, which keeps its device.": {
        "test_wipe.py": "test_wipe_takes_a_fresh_image",
    },
    "A full pool is LVM's matter: test_thin_limits.py.": {
        "test_streams.py": """test_upload_without_space_reports_the_error
            test_upload_without_space_names_the_volume
            test_last_write_error_is_reported""",
    },
    "Thousands of volumes cannot be made by hand in seconds; the limit of "
    "lists is in code that the types share.": {
        "test_list.py": """test_as_many_as_the_wire_takes
            test_limit_counts_revisions_that_are_listed
            test_full_list_has_room_for_what_adds_nothing
            test_unlisted_revisions_do_not_count""",
    },
    "The steps to crash at are processes, not system calls: "
    "test_thin_crash.py.": {
        "test_crash.py": None, "test_domain_crash.py": None,
        "test_faults.py": None,
        "test_guest_power.py": None, "test_recovery.py": None,
    },
    "A container by path is the same for an LV: test_domain_lifecycle.py.": {
        "test_guest_container.py": None,
    },
    "An unprivileged daemon may not run LVM.": {
        "test_session.py": None,
    },
    "Steps that only files in a directory have.": {
        "test_guest_apparmor.py": """
            test_operation_on_files_of_a_confined_daemon
            test_tree_of_a_confined_daemon test_pool_under_an_older_profile""",
    },
    "A thin pool belongs to one host at a time.": {
        "test_migration.py": None,
    },
}

# What runs in the usual run on reflink only, because a test takes many seconds
# in an emulated guest; --all-thin runs these as well.
ONCE = {
    "The front end decides it, before a pool type is asked.": {
        "test_access.py": None,
        "test_clone.py": """
            test_clone_onto_existing_volume_is_refused
            test_clone_of_other_volumes_live_copy_onto_head_is_refused
            test_clone_of_other_volumes_revision_onto_head_is_refused
            test_existing_pin_is_refused test_virsh_vol_create_from
            test_allocation_of_the_document_is_ignored
            test_lifecycle_of_a_dumped_snapshot_volume_is_kept
            test_missing_source_is_reported
            test_clone_that_could_not_start_is_refused""",
        "test_create.py": """
            test_bad_lifecycle_is_refused test_capacity_is_required_for_blank
            test_default_lifecycle_is_persistent test_volatile_volume
            test_unknown_flags_are_refused
            test_backing_store_elsewhere_is_refused_for_raw
            test_fresh_volume_has_generation_and_no_revision
            test_unknown_format_is_refused
            test_create_while_live_orphan_is_there_is_refused""",
        "test_documents.py": """
            test_encryption_of_what_is_not_encrypted_is_refused
            test_no_cow_is_refused test_backing_store_of_a_raw_copy_is_refused
            test_preallocated_metadata_of_a_copy_is_refused""",
        "test_delete.py": """
            test_pinned_revisions_refuse
            test_source_of_a_snapshot_volume_refuses test_deleted_twice
            test_dirty_volume_refuses test_zeroed_flag""",
        "test_lifecycle.py": """
            test_start_of_missing_volume_fails
            test_commit_without_live_copy_is_refused
            test_stage_onto_dirty_volume_is_refused
            test_generation_ignores_what_changes_no_content
            test_second_start_is_refused
            test_removed_source_fails_the_start_cleanly
            test_outdated_ends_with_the_live_copy""",
        "test_list.py": """
            test_everything_is_listed_by_the_old_call
            test_lookup_by_foreign_path_finds_nothing test_virsh_path_and_info
            test_virsh_list_details test_keys_are_unique
            test_left_out_revisions_still_work""",
        "test_names.py": """
            test_bad_name_is_refused
            test_blank_volume_under_revision_name_is_refused
            test_blank_volume_onto_part_of_volume_is_refused
            test_clone_under_new_revision_number_is_refused
            test_pin_of_another_volume_is_refused test_bad_pin_word_is_refused
            test_bad_lookup_is_not_found test_name_element_is_required""",
        "test_pool.py": """
            test_operations_on_a_stopped_pool_are_refused test_events
            test_capabilities_name_the_types
            test_redefinition_takes_effect_at_the_next_start
            test_both_overwrite_flags_are_refused""",
        "test_resize.py": """
            test_smaller_needs_the_flag test_shrink_by_delta
            test_checks_while_dirty_are_against_the_live_size
            test_delta_while_dirty_is_against_the_live_size
            test_info_shows_the_heads_size_until_commit
            test_same_size_succeeds""",
        "test_revisions.py": """
            test_bad_keep_is_refused test_bad_redefine_is_refused
            test_start_onto_revision_is_refused
            test_change_of_a_revision_is_refused
            test_upload_to_a_revision_is_refused
            test_revert_to_unknown_id_is_refused""",
        "test_streams.py": """
            test_more_than_length_is_an_error test_refused_while_dirty
            test_second_upload_is_refused_meanwhile test_empty_upload
            test_download_offset_and_length test_offset_beyond_the_end
            test_upload_is_no_live_copy test_upload_that_fails_is_no_event""",
        "test_wipe.py": """
            test_other_algorithms_are_refused test_refused_while_dirty
            test_algorithms_zero_and_trim""",
        "test_xml.py": """
            test_pool_document_round_trip test_bad_pool_document_is_refused
            test_document_against_the_schema_is_refused
            test_pool_needs_a_target test_relative_target_is_refused
            test_documents_of_the_other_types_validate test_virsh_validate
            test_output_only_parts_are_ignored_on_input
            test_document_against_the_schema_is_refused_for_volumes
            test_schema_for_create_from test_capacity_units
            test_stock_documents_do_not_change
            test_every_dumped_document_is_valid_for_create
            test_type_of_volumes test_revision_element
            test_lifecycle_round_trip""",
    },
    "Shared code chooses ids and what is pruned; a few tests go through it.": {
        "test_lifecycle.py": "test_generation_counts_content_changes",
        "test_qubes_hazards.py": """
            test_h16_prune_removes_the_oldest_ids_and_nothing_else""",
        "test_revisions.py": """
            test_keep_of_the_pool test_keep_zero_of_the_pool
            test_volume_follows_a_changed_pool_value test_large_keep
            test_ids_are_not_reused_after_keep_zero
            test_ids_are_not_reused_after_refresh
            test_redefine_by_clone_onto_itself test_revert_can_be_undone
            test_revert_keeps_everything test_revert_brings_content_back
            test_revert_does_not_change_volume_facts
            test_retention_never_removes_a_pin
            test_pin_does_not_count_for_retention test_default_keep_is_one
            test_keep_of_the_volume test_redefine_works_while_dirty
            test_revision_can_be_deleted test_pin_can_be_deleted
            test_higher_id_raises_the_next test_ids_grow
            test_pin_of_a_dirty_volume_is_the_committed_state
            test_redefine_changes_nothing_else
            test_redefine_without_elements_changes_nothing
            test_revision_times_are_told""",
        "test_streams.py": "test_upload_prunes_as_retention_says",
    },
    "Another test here does the same on the way.": {
        "test_boot.py": """
            test_restart_in_the_same_boot_keeps_all
            test_staged_content_survives_a_reboot
            test_used_live_copy_is_kept[loop]""",
        "test_clone.py": """
            test_clone_has_the_content test_clone_of_a_pinned_revision
            test_clone_has_no_revisions test_clone_after_commit_has_new_data
            test_odd_sizes_clone_exactly
            test_clone_of_running_volume_has_committed_state
            test_copy_between_pools test_origin_is_recorded
            test_clone_needs_no_backing test_copy_to_a_stock_dir_pool
            test_clone_of_a_revision""",
        "test_create.py": """
            test_snapshot_volume_is_clone_of_source
            test_new_volume_is_listed_at_once test_unmodified_virsh_creates
            test_reflink_flag_is_accepted test_snapshot_volume_may_be_larger
            test_info_tells_capacity_and_type""",
        "test_delete.py": """
            test_delete_removes_all test_unpinned_revisions_go_with_it
            test_source_refuses_after_a_refresh test_virsh_delete_snapshots
            test_name_can_be_used_again
            test_live_copy_of_snapshot_volume_can_be_deleted_with_source_busy""",
        "test_inuse.py": """
            test_commit_of_used_live_copy_is_refused[loop]
            test_discard_of_used_live_copy_is_refused[loop]
            test_clone_of_open_live_copy_works[loop]
            test_refresh_while_in_use[loop]
            test_delete_of_a_used_revision_is_refused[loop]
            test_delete_of_streamed_revision_is_refused_or_safe
            test_retention_defers_a_used_revision
            test_writer_on_the_head_refuses[start]
            test_writer_on_the_head_refuses[delete]
            test_writer_on_the_head_refuses[wipe] test_pin_of_open_head_works
            test_refresh_while_in_use[opened]""",
        "test_lifecycle.py": """
            test_running_volume_does_not_change_the_head
            test_commit_makes_live_copy_the_head
            test_discard_drops_the_live_copy
            test_snapshot_volume_starts_from_its_source
            test_snapshot_volume_forgets_its_writes
            test_outdated_tells_of_a_newer_source
            test_volatile_volume_starts_blank
            test_stage_brings_content_and_size test_staged_content_discards
            test_snapshot_of_running_source_has_its_committed_state
            test_snapshot_volume_is_stable_while_it_runs
            test_stage_from_a_revision_of_another
            test_start_works_after_discard
            test_live_copy_survives_refresh_and_restart
            test_stage_of_identical_content_commits""",
        "test_list.py": """
            test_everything_is_listed
            test_left_out_revisions_are_still_reachable""",
        "test_names.py": """
            test_names_differ_by_case test_existing_name_is_refused""",
        "test_resize.py": """
            test_grow test_resize_while_dirty_is_taken_back
            test_dirty_volume_resizes_its_live_copy_only test_grow_by_delta
            test_unmodified_virsh_resizes test_live_copy_of_volatile_volume""",
        "test_revisions.py": """
            test_pin_records_the_head test_ids_are_not_reused_after_delete
            test_revision_in_use_is_deferred test_redefine_of_the_lifecycle
            test_reverted_head_is_independent_of_the_revision""",
        "test_streams.py": """
            test_upload_replaces_the_content test_plain_upload_by_virsh
            test_download test_shorter_upload_keeps_the_size
            test_former_state_becomes_a_revision
            test_upload_works_after_an_abort
            test_copy_while_target_is_downloaded
            test_disconnect_leaves_the_head test_upload_ends_with_an_event
            test_aborted_download_leaves_nothing
            test_finish_is_refused_when_the_volume_changed
            test_download_of_dirty_volume_is_the_committed_state
            test_start_during_an_upload_is_consistent""",
        "test_wipe.py": "test_wipe_makes_zeros test_unmodified_virsh_wipes",
    },
    "A test that stays here goes the same way through LVM.": {
        "test_concurrency.py": """
            test_delete_while_others_clone test_stable_download_during_uploads""",
        "test_boot.py": """
            test_refresh_after_a_reboot_keeps_all test_used_live_copy_is_kept
            test_live_copy_without_our_mark_is_kept
            test_live_copy_of_persistent_volume_is_kept
            test_unwritten_live_copy_of_an_earlier_boot_commits""",
        "test_clone.py": """
            test_larger_clone_is_grown test_clone_is_independent
            test_origin_is_nested_to_the_first
            test_clone_of_a_live_copy test_copy_from_a_stock_dir_pool
            test_copy_to_elsewhere_stays_sparse""",
        "test_inuse.py": """
            test_writer_on_the_head_refuses[upload]
            test_writer_on_the_head_refuses[resize]
            test_discard_of_used_live_copy_is_refused
            test_clone_of_open_live_copy_works
            test_delete_of_a_used_revision_is_refused
            test_lower_keep_defers_a_used_revision
            test_loop_device_on_the_head_refuses""",
        "test_lifecycle.py": """
            test_revert_of_the_source_outdates test_stage_from_another_pool
            test_resized_live_copy_is_committed
            test_outdated_survives_a_refresh""",
        "test_qubes_hazards.py": """
            test_n03_daemon_with_another_clock
            test_n07_loop_device_left_over_a_cycle""",
        "test_revisions.py": """
            test_lower_keep_prunes_at_once
            test_keep_of_the_volume_survives_refresh
            test_revert_with_keep_zero_keeps_the_head
            test_keep_zero_keeps_nothing test_commit_after_revert_prunes""",
        "test_streams.py": """
            test_download_of_the_live_copy_is_stable
            test_sparse_upload_by_virsh test_refresh_during_an_upload
            test_download_is_stable_over_a_revert test_offset_and_length
            test_delete_during_an_upload_is_consistent
            test_upload_in_place_ends_with_an_event""",
    },
    "Shared code does it; what is thin pools' own is in test_thin_*.py.": {
        "test_create.py": None, "test_held.py": None, "test_list.py": None,
        "test_names.py": None, "test_pool.py": None, "test_resize.py": None,
        "test_wipe.py": None, "test_xml.py": None,
    },
    "The driver does it before any type has its say.": {
        "test_behaviour.py": """
            test_transient_pool_becomes_persistent
            test_transient_pool_has_no_autostart
            test_running_pool_is_neither_started_nor_undefined
            test_redefinition test_printed_document_defines_the_same
            test_names_and_ids_are_unique test_pool_is_found
            test_inactive_pool_refuses test_missing_volume_is_not_found
            test_existing_name_is_refused test_printed_document_makes_the_same
            test_wiped_volume_is_blank test_sizes_of_the_pool""",
    },
    "Programs, which know nothing of the type.": {
        "test_clients.py": None, "test_examples.py": None,
        "test_modular.py": None,
    },
    "What a domain means for a live copy is decided without its type.": {
        "test_domain_lifecycle.py": """
            test_live_copy_of_persistent_volume_is_continued
            test_leftover_of_snapshot_volume_is_replaced
            test_live_copy_of_another_domain_is_refused
            test_failed_prepare_is_undone
            test_domain_that_never_started_is_undone
            test_saved_domain_goes_on_with_its_live_copy test_managed_save
            test_shut_down_while_no_daemon_ended_it
            test_restore_that_fails_keeps_the_live_copy
            test_restore_that_is_cut_keeps_the_live_copy
            test_plugged_in_live_copy_of_a_saved_domain
            test_read_only_disk_does_not_drive test_import_is_not_replaced
            test_snapshot_below_survives_a_pool_start
            test_crash test_daemon_that_starts_anew_changes_nothing
            test_external_snapshot_keeps_the_live_copy
            test_snapshot_that_was_brought_down
            test_heads_and_other_disks_are_left_alone
            test_domain_whose_volume_is_changed_by_hand
            test_domain_that_writes_nothing_leaves_no_revision
            test_autostart_at_boot
            test_emulator_that_ends_while_no_daemon_runs
            test_snapshot_and_volatile_volumes_start_afresh
            test_daemon_killed_just_before_the_emulator
            test_daemon_killed_while_a_domain_starts
            test_thirty_domains_start_at_once""",
    },
    "The same calls as in test_lifecycle.py and test_revisions.py, by virsh.": {
        "test_virsh.py": """
            test_pin test_stage test_redefine test_redefine_prunes
            test_start_commit_revert
            test_create_validate test_create_validate_refuses
            test_create_from_validate test_create_from_validate_refuses""",
    },
    "A machine in the guest takes minutes to boot.": {
        "test_domains.py": None,
    },
    "Minutes: the lock of a volume and the daemon's threads are shared.": {
        "test_clone.py": """
            test_vol_clone_works_on_everything_listed test_copy_shows_progress""",
        "test_concurrency.py": """
            test_copies_in_opposite_directions test_copies_of_one_volume
            test_twenty_clients_clone_one_volume test_one_start_wins
            test_create_of_one_name test_siblings_with_a_common_prefix
            test_no_asynchronous_jobs_for_short_operations
            test_short_operations_during_a_copy
            test_uploads_and_commits_of_many_volumes
            test_list_while_everything_changes test_nothing_leaks
            test_twenty_clients_start_their_volumes
            test_refresh_while_twenty_clients_work
            test_rounds_of_create_start_discard_delete""",
        "test_delete.py": "test_siblings_with_a_common_prefix_stay",
    },
}


def names(item):
    """A test's name with and without parameters."""
    name, _, ident = item.name.partition("[")
    parts = [p for p in ident.rstrip("]").split("-") if p != "thin"]
    return {name, f"{name}[{'-'.join(parts)}]"}


def listed(kind, everything, file, tests):
    """Whether one of the tests of a file is not for this type of pool."""
    if kind == "reflink":
        others = (THIN_FILES,)
        if not os.environ.get("GUEST_DISKS"):
            others += (GUEST_FILES,)
        return file.startswith(others)
    tables = (REFLINK_ONLY,) if everything else (REFLINK_ONLY, ONCE)
    return any(file in files and (files[file] is None
                                  or tests & set(files[file].split()))
               for table in tables for files in table.values())


def find(items, kind, everything):
    """The items that are not for this type of pool."""
    return [i for i in items
            if listed(kind, everything, i.path.name, names(i))]


def nothing_left(path, kind, everything):
    """Whether no test of a file is for this type of pool. Only its text is
    looked at: to import it, an emulated processor takes seconds."""
    if kind != "reflink" and path.name.startswith(TREE_FILES):
        return True
    tests = re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"),
                       re.M)
    return bool(tests) and all(listed(kind, everything, path.name, {test})
                               for test in tests)
