/*
 * storage_fspool_archive_input.c: reading a tar archive, to its very end
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <archive.h>
#include <gio/gio.h>
#include <unistd.h>

#include "storage_fspool_archive_input.h"

#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/*
 *   descriptor -> [gunzip] -> unpacker: what filters libarchive has, and no format -> reader: tar, and no filters
 *
 * Two readers, because all that goes into the one for tar has to be seen here:
 *
 *   - the headers (storage_fspool_archive_header.c says why)
 *   - the end: libarchive takes the end of the file for that of the archive, wherever one entry is complete, so a stream
 *     that was cut off there would seem to be whole
 *
 * libarchive's own filter for gzip checks neither checksum nor length, nor what is behind; GLib's does.
 */

/* A pipe's worth, or a few. */
#define CHUNK (256 * 1024)

/* The headers of one entry, the map of a sparse file among them, which libarchive keeps in memory in pieces ten times
 * as large. Enough for 400,000 pieces. */
#define HEADERS_MAX (8 * 1024 * 1024)

/* What an archive ends with: two blocks of zeros. */
#define END_LEN (2 * VIR_STORAGE_FSPOOL_ARCHIVE_BLOCK)

struct _virStorageFspoolArchiveInput {
    const char *volume;
    int fd;
    const int *cancelled;       /* atomic: nobody wants it any more; or NULL */

    char *raw;                  /* from the descriptor: CHUNK bytes */
    size_t rawAt;               /* what is not taken yet */
    size_t rawEnd;
    bool rawOver;
    unsigned long long rawTaken;

    GConverter *gunzip;         /* NULL: it is not compressed, or by something else */
    char *plain;                /* from gunzip: CHUNK bytes */
    bool between;               /* a part of the stream that was compressed by itself has ended */

    struct archive *unpacker;
    struct archive *reader;

    GByteArray *seen;           /* what has gone to the reader, and may be looked at yet */
    size_t seenAt;              /* what has been in it is not removed at once */
    unsigned long long seenFrom; /* where in the archive the byte at seenAt is */
    bool over;                  /* there is no more to go */
};


static int
virStorageFspoolArchiveInputFail(virStorageFspoolArchiveInput *input,
                                 const char *why)
{
    virReportError(VIR_ERR_OPERATION_FAILED,
                   _("cannot read the archive for volume '%1$s': %2$s"), input->volume, why);
    return -1;
}


static int
virStorageFspoolArchiveInputFailIn(virStorageFspoolArchiveInput *input,
                                   struct archive *archive)
{
    const char *why = archive_error_string(archive);

    return virStorageFspoolArchiveInputFail(input, why ? why : _("it is damaged"));
}


/* Reads more, when nothing is left. Returns 0, or -1 with errno. */
static int
virStorageFspoolArchiveFill(virStorageFspoolArchiveInput *input)
{
    ssize_t got;

    if (input->rawAt < input->rawEnd || input->rawOver)
        return 0;

    do {
        got = read(input->fd, input->raw, CHUNK);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return -1;

    input->rawAt = 0;
    input->rawEnd = got;
    input->rawOver = got == 0;
    return 0;
}


/* Returns how many bytes @buf has been set to, 0 at the end, or -1 with an error of @archive. */
static la_ssize_t
virStorageFspoolArchiveGunzip(virStorageFspoolArchiveInput *input,
                              struct archive *archive,
                              const void **buf)
{
    for (;;) {
        g_autoptr(GError) err = NULL;
        GConverterResult rc;
        gsize taken = 0;
        gsize made = 0;

        if (virStorageFspoolArchiveFill(input) < 0) {
            archive_set_error(archive, errno, "%s", g_strerror(errno));
            return -1;
        }
        if (input->rawOver && input->between)
            return 0;

        rc = g_converter_convert(input->gunzip, input->raw + input->rawAt, input->rawEnd - input->rawAt,
                                 input->plain, CHUNK, input->rawOver ? G_CONVERTER_INPUT_AT_END : G_CONVERTER_NO_FLAGS,
                                 &taken, &made, &err);
        if (rc == G_CONVERTER_ERROR) {
            if (g_error_matches(err, G_IO_ERROR, G_IO_ERROR_PARTIAL_INPUT) && !input->rawOver &&
                input->rawAt == input->rawEnd)
                continue;
            archive_set_error(archive, EINVAL, "%s", err->message);
            return -1;
        }

        input->rawAt += taken;
        input->between = rc == G_CONVERTER_FINISHED;
        if (input->between)
            g_converter_reset(input->gunzip);
        if (made > 0) {
            *buf = input->plain;
            return made;
        }
    }
}


/* What libarchive's unpacker reads from. */
static la_ssize_t
virStorageFspoolArchiveReadRaw(struct archive *archive,
                               void *opaque,
                               const void **buf)
{
    virStorageFspoolArchiveInput *input = opaque;
    la_ssize_t got;

    if (input->gunzip) {
        if ((got = virStorageFspoolArchiveGunzip(input, archive, buf)) > 0)
            input->rawTaken += got;
        return got;
    }

    if (virStorageFspoolArchiveFill(input) < 0) {
        archive_set_error(archive, errno, "%s", g_strerror(errno));
        return -1;
    }
    got = input->rawEnd - input->rawAt;
    *buf = input->raw + input->rawAt;
    input->rawAt = input->rawEnd;
    input->rawTaken += got;
    return got;
}


/* Returns 1 and a piece of the archive, 0 at its end, or -1 when the unpacker has an error. A few bytes can become very
 * many pieces, so that a client who is gone is thought of at each. */
static int
virStorageFspoolArchiveUnpacked(virStorageFspoolArchiveInput *input,
                                const void **buf,
                                size_t *len)
{
    la_int64_t offset;
    int rc = ARCHIVE_EOF;

    while (!input->over) {
        if (input->cancelled && g_atomic_int_get(input->cancelled)) {
            archive_set_error(input->unpacker, ECANCELED, "%s", _("it was given up"));
            return -1;
        }
        rc = archive_read_data_block(input->unpacker, buf, len, &offset);
        if (rc == ARCHIVE_OK && *len > 0)
            return 1;
        if (rc == ARCHIVE_EOF)
            input->over = true;
        else if (rc != ARCHIVE_OK)
            return -1;
    }
    return 0;
}


/* What libarchive's reader of tar reads from. */
static la_ssize_t
virStorageFspoolArchiveReadPlain(struct archive *archive,
                                 void *opaque,
                                 const void **buf)
{
    virStorageFspoolArchiveInput *input = opaque;
    size_t len = 0;
    int rc = virStorageFspoolArchiveUnpacked(input, buf, &len);

    if (rc < 0) {
        const char *why = archive_error_string(input->unpacker);

        archive_set_error(archive, EIO, "%s", why ? why : _("it is damaged"));
        return -1;
    }
    if (rc == 0)
        return 0;

    if (input->seen->len - input->seenAt > HEADERS_MAX) {
        archive_set_error(archive, EFBIG, "%s", _("the headers of an entry are too large"));
        return -1;
    }
    g_byte_array_append(input->seen, *buf, len);
    return len;
}


/* Forgets all that lies before that place in the archive. The bytes are moved when that is worth it, not each time. */
static int
virStorageFspoolArchiveForget(virStorageFspoolArchiveInput *input,
                              long long upto)
{
    unsigned long long count = upto - (long long) input->seenFrom;

    if (upto < (long long) input->seenFrom || count > input->seen->len - input->seenAt)
        return virStorageFspoolArchiveInputFail(input, _("it is damaged"));

    input->seenAt += count;
    input->seenFrom = upto;
    if (input->seenAt > input->seen->len / 2) {
        g_byte_array_remove_range(input->seen, 0, input->seenAt);
        input->seenAt = 0;
    }
    return 0;
}


/* Filters of which libarchive does without the library behind it run a command instead: not from here. */
static bool
virStorageFspoolArchiveIsBuiltIn(int (*support)(struct archive *))
{
    struct archive *scratch = archive_read_new();
    bool built = scratch && support(scratch) == ARCHIVE_OK;

    archive_read_free(scratch);
    return built;
}


static int
virStorageFspoolArchiveInputOpen(virStorageFspoolArchiveInput *input)
{
    struct archive_entry *entry;

    if (virStorageFspoolArchiveIsBuiltIn(archive_read_support_filter_xz))
        archive_read_support_filter_xz(input->unpacker);
    if (virStorageFspoolArchiveIsBuiltIn(archive_read_support_filter_zstd))
        archive_read_support_filter_zstd(input->unpacker);
    archive_read_support_format_raw(input->unpacker);
    if (archive_read_open(input->unpacker, input, NULL, virStorageFspoolArchiveReadRaw, NULL) != ARCHIVE_OK ||
        archive_read_next_header(input->unpacker, &entry) != ARCHIVE_OK)
        return virStorageFspoolArchiveInputFailIn(input, input->unpacker);

    archive_read_support_format_tar(input->reader);
    if (archive_read_open(input->reader, input, NULL, virStorageFspoolArchiveReadPlain, NULL) != ARCHIVE_OK)
        return virStorageFspoolArchiveInputFailIn(input, input->reader);
    return 0;
}


/**
 * virStorageFspoolArchiveInputNew:
 * @fd: to read from, blocking; stays the caller's
 * @volume: for errors; must stay as long as what is returned
 * @cancelled: NULL, or set by somebody else to have it fail; likewise
 *
 * Opens a tar archive of any format that libarchive reads, which may be compressed by gzip, xz or zstd.
 *
 * Returns NULL with an error
 */
virStorageFspoolArchiveInput *
virStorageFspoolArchiveInputNew(int fd,
                                const char *volume,
                                const int *cancelled)
{
    g_autoptr(virStorageFspoolArchiveInput) input = g_new0(virStorageFspoolArchiveInput, 1);

    input->volume = volume;
    input->fd = fd;
    input->cancelled = cancelled;
    input->raw = g_new0(char, CHUNK);
    input->seen = g_byte_array_new();
    input->unpacker = archive_read_new();
    input->reader = archive_read_new();
    if (!input->unpacker || !input->reader) {
        virReportSystemError(ENOMEM, _("cannot read the archive for volume '%1$s'"), volume);
        return NULL;
    }

    if (virStorageFspoolArchiveFill(input) < 0) {
        virReportSystemError(errno, _("cannot read the archive for volume '%1$s'"), volume);
        return NULL;
    }
    if (input->rawOver) {
        virStorageFspoolArchiveInputFail(input, _("it is empty"));
        return NULL;
    }
    /* one byte, if there is no more yet, tells as much: no name and no other compression begins with it */
    if (memcmp(input->raw, "\x1f\x8b", MIN(2, input->rawEnd)) == 0) {
        input->gunzip = G_CONVERTER(g_zlib_decompressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP));
        input->plain = g_new0(char, CHUNK);
    }

    if (virStorageFspoolArchiveInputOpen(input) < 0)
        return NULL;
    return g_steal_pointer(&input);
}


void
virStorageFspoolArchiveInputFree(virStorageFspoolArchiveInput *input)
{
    if (!input)
        return;

    archive_read_free(input->reader);
    archive_read_free(input->unpacker);
    g_clear_object(&input->gunzip);
    g_clear_pointer(&input->seen, g_byte_array_unref);
    g_free(input->plain);
    g_free(input->raw);
    g_free(input);
}


static bool
virStorageFspoolArchiveIsZero(const void *data,
                              size_t len)
{
    const char *bytes = data;

    return len == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, len - 1) == 0);
}


/* A compressed stream that ends before the file does has something else behind it, which was not looked at. */
static int
virStorageFspoolArchiveCheckRaw(virStorageFspoolArchiveInput *input)
{
    if (virStorageFspoolArchiveFill(input) < 0) {
        virReportSystemError(errno, _("cannot read the archive for volume '%1$s'"), input->volume);
        return -1;
    }
    if (!input->rawOver || (unsigned long long) archive_filter_bytes(input->unpacker, -1) != input->rawTaken)
        return virStorageFspoolArchiveInputFail(input, _("there is something behind its end"));
    return 0;
}


/* The reader has come to what it takes for the end: are there the two blocks of zeros, and nothing but zeros? */
static int
virStorageFspoolArchiveCheckEnd(virStorageFspoolArchiveInput *input)
{
    const void *buf;
    unsigned long long total;
    bool zero;
    size_t len = 0;
    int rc;

    if (virStorageFspoolArchiveForget(input, archive_read_header_position(input->reader)) < 0)
        return -1;

    total = input->seen->len - input->seenAt;
    zero = virStorageFspoolArchiveIsZero(input->seen->data + input->seenAt, total);
    while (zero && (rc = virStorageFspoolArchiveUnpacked(input, &buf, &len)) != 0) {
        if (rc < 0)
            return virStorageFspoolArchiveInputFailIn(input, input->unpacker);
        zero = virStorageFspoolArchiveIsZero(buf, len);
        total += len;
    }
    if (!zero)
        return virStorageFspoolArchiveInputFail(input, _("there is something behind its end"));
    if (total < END_LEN || total % VIR_STORAGE_FSPOOL_ARCHIVE_BLOCK != 0)
        return virStorageFspoolArchiveInputFail(input, _("its end is missing"));
    return virStorageFspoolArchiveCheckRaw(input);
}


/**
 * virStorageFspoolArchiveInputNext:
 * @input: archive
 * @entry: set to numbers and attributes of the next entry, valid until the next call; names in it are not to be used
 * @header: empty; filled, and to be cleared
 *
 * Returns 1; 0 when the archive is complete, and nothing is behind it; -1 with an error
 */
int
virStorageFspoolArchiveInputNext(virStorageFspoolArchiveInput *input,
                                 struct archive_entry **entry,
                                 virStorageFspoolArchiveHeader *header)
{
    int rc = archive_read_next_header(input->reader, entry);
    const char *wrong;
    long long end;

    if (rc == ARCHIVE_EOF)
        return virStorageFspoolArchiveCheckEnd(input);
    /* that a name is of no use in this locale does not matter: all others that libarchive warns of do */
    if (rc != ARCHIVE_OK && (rc != ARCHIVE_WARN || archive_errno(input->reader) != EILSEQ))
        return virStorageFspoolArchiveInputFailIn(input, input->reader);

    end = archive_filter_bytes(input->reader, 0);
    if (virStorageFspoolArchiveForget(input, archive_read_header_position(input->reader)) < 0)
        return -1;
    if (end < (long long) input->seenFrom || end - input->seenFrom > input->seen->len - input->seenAt)
        return virStorageFspoolArchiveInputFail(input, _("it is damaged"));
    wrong = virStorageFspoolArchiveHeaderParse((const char *) input->seen->data + input->seenAt, end - input->seenFrom,
                                               header);
    if (wrong)
        return virStorageFspoolArchiveInputFail(input, _(wrong));
    return virStorageFspoolArchiveForget(input, end) < 0 ? -1 : 1;
}


/**
 * virStorageFspoolArchiveInputData:
 * @input: archive
 * @data: set to a piece of the current entry's data
 * @len: its length in bytes
 * @offset: where in the file it belongs
 *
 * Returns 1, or 0 behind the last piece, or -1 with an error
 */
int
virStorageFspoolArchiveInputData(virStorageFspoolArchiveInput *input,
                                 const void **data,
                                 size_t *len,
                                 long long *offset)
{
    la_int64_t at;
    int rc;

    if (virStorageFspoolArchiveForget(input, archive_filter_bytes(input->reader, 0)) < 0)
        return -1;

    rc = archive_read_data_block(input->reader, data, len, &at);
    *offset = at;
    if (rc == ARCHIVE_EOF)
        return 0;
    return rc == ARCHIVE_OK ? 1 : virStorageFspoolArchiveInputFailIn(input, input->reader);
}
