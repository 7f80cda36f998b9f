/*
 * storage_fspool_archive_output.c: writing a tar archive
 *
 * Copyright (C) 2026 the libvirt storage revisions authors
 *
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

#include <config.h>

#include <archive.h>
#include <locale.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "storage_fspool_archive_output.h"

#include "storage_fspool_archive_node.h"
#include "virerror.h"

#define VIR_FROM_THIS VIR_FROM_STORAGE

/* What is read and written at once. */
#define CHUNK (256 * 1024)

/* Archives are as long as a multiple of that, as those of other tools. */
#define RECORD 10240

/* The largest number of pieces that a sparse file is stored in: the rest of it is stored as it is. */
#define PIECES_MAX 65536

/* libarchive wants to be given holes, too, which it then does not look at: so large a piece at once. */
#define HOLE (1024LL * 1024 * 1024)

/* Data between holes. */
typedef struct _virStorageFspoolArchivePiece virStorageFspoolArchivePiece;
struct _virStorageFspoolArchivePiece {
    long long start;
    long long end;
};

struct _virStorageFspoolArchiveOutput {
    const char *volume;
    int fd;
    struct archive *writer;
    char *buf;              /* CHUNK bytes */
    void *hole;             /* HOLE bytes of address space, without memory; NULL until there is a use for it */
    locale_t locale;        /* names are bytes, which the archive says to be UTF-8 where they can be */
    locale_t before;
    sigset_t signals;       /* of the thread, before */
    bool pending;           /* there was a SIGPIPE that is not ours */
    int err;                /* errno of the first write that failed; nothing is written after it */
    bool over;              /* nothing is to be written any more */
};


/* Returns 0 when @good, and all that was written until now could be, or -1 with an error. */
static int
virStorageFspoolArchiveOutputCheck(virStorageFspoolArchiveOutput *output,
                                   bool good)
{
    const char *why;

    if (good && !output->err)
        return 0;

    if (output->err) {
        virReportSystemError(output->err, _("cannot write the archive of volume '%1$s'"), output->volume);
    } else {
        why = archive_error_string(output->writer);
        virReportError(VIR_ERR_OPERATION_FAILED, _("cannot write the archive of volume '%1$s': %2$s"),
                       output->volume, why ? why : _("unknown error"));
    }
    return -1;
}


/* What cannot be written goes nowhere, and is noticed by us: libarchive would not free its buffers after an error. */
static la_ssize_t
virStorageFspoolArchiveWrite(struct archive *writer G_GNUC_UNUSED,
                             void *opaque,
                             const void *data,
                             size_t len)
{
    virStorageFspoolArchiveOutput *output = opaque;

    while (!output->err && !output->over) {
        ssize_t put = write(output->fd, data, len);

        if (put >= 0)
            return put;
        if (errno != EINTR)
            output->err = errno;
    }
    return len;
}


/* A reader that goes away must not take the process with it: for a pipe there is no flag that says so. */
static void
virStorageFspoolArchiveHoldSignal(virStorageFspoolArchiveOutput *output)
{
    sigset_t pipe;
    sigset_t pending;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    output->pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe, &output->signals);
}


static void
virStorageFspoolArchiveReleaseSignal(virStorageFspoolArchiveOutput *output)
{
    struct timespec now = { 0 };
    sigset_t pipe;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    while (!output->pending && sigtimedwait(&pipe, NULL, &now) < 0 && errno == EINTR)
        ;
    pthread_sigmask(SIG_SETMASK, &output->signals, NULL);
}


/**
 * virStorageFspoolArchiveOutputNew:
 * @fd: to write to, blocking; stays the caller's
 * @volume: for errors; must stay as long as what is returned
 *
 * Begins an archive. It is written by the thread that does this, until it is freed. The format is pax in full: what
 * libarchive calls restricted leaves out fractions of seconds.
 *
 * Returns NULL with an error
 */
virStorageFspoolArchiveOutput *
virStorageFspoolArchiveOutputNew(int fd,
                                 const char *volume)
{
    g_autoptr(virStorageFspoolArchiveOutput) output = g_new0(virStorageFspoolArchiveOutput, 1);

    output->volume = volume;
    output->fd = fd;
    output->buf = g_new0(char, CHUNK);
    virStorageFspoolArchiveHoldSignal(output);
    if ((output->locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t) 0)))
        output->before = uselocale(output->locale);

    if (!(output->writer = archive_write_new())) {
        virReportSystemError(ENOMEM, _("cannot write the archive of volume '%1$s'"), volume);
        return NULL;
    }
    if (archive_write_set_format_pax(output->writer) != ARCHIVE_OK ||
        archive_write_set_format_option(output->writer, "pax", "xattrheader", "SCHILY") != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(output->writer, CHUNK / RECORD * RECORD) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(output->writer, RECORD) != ARCHIVE_OK ||
        archive_write_open(output->writer, output, NULL, virStorageFspoolArchiveWrite, NULL) != ARCHIVE_OK) {
        virStorageFspoolArchiveOutputCheck(output, false);
        return NULL;
    }
    return g_steal_pointer(&output);
}


/* Does not write the archive's end, as libarchive would now: what is incomplete must not look complete. */
void
virStorageFspoolArchiveOutputFree(virStorageFspoolArchiveOutput *output)
{
    if (!output)
        return;

    output->over = true;
    archive_write_free(output->writer);
    if (output->hole)
        munmap(output->hole, HOLE);
    if (output->locale) {
        uselocale(output->before);
        freelocale(output->locale);
    }
    virStorageFspoolArchiveReleaseSignal(output);
    g_free(output->buf);
    g_free(output);
}


/**
 * virStorageFspoolArchiveOutputEntry:
 * @output: archive
 * @entry: all but the data of a file
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchiveOutputEntry(virStorageFspoolArchiveOutput *output,
                                   struct archive_entry *entry)
{
    int rc = archive_write_header(output->writer, entry);

    /* names that are not UTF-8 are written with a note that says so, and a warning to us */
    return virStorageFspoolArchiveOutputCheck(output, rc == ARCHIVE_OK ||
                                              (rc == ARCHIVE_WARN && archive_errno(output->writer) == EILSEQ));
}


static int
virStorageFspoolArchiveOutputData(virStorageFspoolArchiveOutput *output,
                                  const char *data,
                                  size_t len)
{
    while (len > 0) {
        la_ssize_t put = archive_write_data(output->writer, data, len);

        if (virStorageFspoolArchiveOutputCheck(output, put > 0) < 0)
            return -1;
        data += put;
        len -= put;
    }
    return 0;
}


static int
virStorageFspoolArchiveOutputHole(virStorageFspoolArchiveOutput *output,
                                  long long len)
{
    if (len > 0 && !output->hole) {
        void *hole = mmap(NULL, HOLE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (hole == MAP_FAILED) {
            virReportSystemError(errno, _("cannot write the archive of volume '%1$s'"), output->volume);
            return -1;
        }
        output->hole = hole;
    }

    for (; len > 0; len -= MIN(len, HOLE)) {
        if (virStorageFspoolArchiveOutputData(output, output->hole, MIN(len, HOLE)) < 0)
            return -1;
    }
    return 0;
}


/* Finds what of a file is data. Returns how many pieces that is, none when it has no holes, or cannot tell. */
static GArray *
virStorageFspoolArchiveFindPieces(int fd,
                                  long long size)
{
    g_autoptr(GArray) pieces = g_array_new(false, false, sizeof(virStorageFspoolArchivePiece));
    long long at = 0;

    while (at < size) {
        virStorageFspoolArchivePiece piece = { .start = lseek(fd, at, SEEK_DATA) };

        if (piece.start < 0 && errno != ENXIO)
            return NULL;
        if (piece.start < 0 || piece.start >= size)
            break;
        piece.end = pieces->len + 1 < PIECES_MAX ? lseek(fd, piece.start, SEEK_HOLE) : size;
        if (piece.end < 0)
            return NULL;
        piece.end = MIN(piece.end, size);
        if (piece.end <= piece.start) /* it is being changed */
            piece.end = size;
        g_array_append_val(pieces, piece);
        at = piece.end;
    }
    return g_steal_pointer(&pieces);
}


/* Makes an entry sparse, if its file is. Returns the pieces that are to be written. */
static GArray *
virStorageFspoolArchiveOutputPieces(struct archive_entry *entry,
                                    int fd,
                                    long long allocated)
{
    long long size = archive_entry_size(entry);
    g_autoptr(GArray) pieces = allocated < size ? virStorageFspoolArchiveFindPieces(fd, size) : NULL;
    virStorageFspoolArchivePiece whole = { .end = size };
    size_t i;

    if (pieces && (pieces->len != 1 || memcmp(pieces->data, &whole, sizeof(whole)) != 0)) {
        for (i = 0; i < pieces->len; i++) {
            virStorageFspoolArchivePiece *piece = &g_array_index(pieces, virStorageFspoolArchivePiece, i);

            archive_entry_sparse_add_entry(entry, piece->start, piece->end - piece->start);
        }
        if (pieces->len == 0) /* nothing but a hole is not sparse, unless it is said where it ends */
            archive_entry_sparse_add_entry(entry, size, 0);
        return g_steal_pointer(&pieces);
    }

    g_clear_pointer(&pieces, g_array_unref);
    pieces = g_array_new(false, false, sizeof(virStorageFspoolArchivePiece));
    if (size > 0)
        g_array_append_val(pieces, whole);
    return g_steal_pointer(&pieces);
}


/* Copies a piece. Returns 1, or 0 when the file has become shorter, or -1 with an error. */
static int
virStorageFspoolArchiveOutputPiece(virStorageFspoolArchiveOutput *output,
                                   const virStorageFspoolArchivePiece *piece,
                                   int fd,
                                   const char *path)
{
    long long at = piece->start;

    while (at < piece->end) {
        ssize_t got = pread(fd, output->buf, MIN(CHUNK, piece->end - at), at);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            g_autofree char *shown = virStorageFspoolArchiveShow(path);

            virReportSystemError(errno, _("cannot read '%2$s' of volume '%1$s'"), output->volume, shown);
            return -1;
        }
        if (got == 0)
            return 0;
        if (virStorageFspoolArchiveOutputData(output, output->buf, got) < 0)
            return -1;
        at += got;
    }
    return 1;
}


/**
 * virStorageFspoolArchiveOutputFile:
 * @output: archive
 * @entry: all but the data of a file, and its size
 * @fd: the file
 * @allocated: bytes that it has on the disk
 *
 * What the file is longer than the size in its entry is left out; what it is shorter is zeros.
 *
 * Returns 0, or -1 with an error
 */
int
virStorageFspoolArchiveOutputFile(virStorageFspoolArchiveOutput *output,
                                  struct archive_entry *entry,
                                  int fd,
                                  long long allocated)
{
    g_autoptr(GArray) pieces = virStorageFspoolArchiveOutputPieces(entry, fd, allocated);
    const char *path = archive_entry_pathname(entry);
    long long at = 0;
    size_t i;
    int rc = 1;

    if (virStorageFspoolArchiveOutputEntry(output, entry) < 0)
        return -1;
    /* libarchive writes the map of a sparse file before its first byte, even if that does not exist */
    if (virStorageFspoolArchiveOutputCheck(output, archive_write_data(output->writer, output->buf, 0) >= 0) < 0)
        return -1;

    for (i = 0; i < pieces->len && rc > 0; i++) {
        const virStorageFspoolArchivePiece *piece = &g_array_index(pieces, virStorageFspoolArchivePiece, i);

        if (virStorageFspoolArchiveOutputHole(output, piece->start - at) < 0 ||
            (rc = virStorageFspoolArchiveOutputPiece(output, piece, fd, path)) < 0)
            return -1;
        at = piece->end;
    }

    /* this writes the zeros that are missing */
    return virStorageFspoolArchiveOutputCheck(output, archive_write_finish_entry(output->writer) == ARCHIVE_OK);
}


/* Writes what an archive ends with. Returns 0, or -1 with an error. */
int
virStorageFspoolArchiveOutputEnd(virStorageFspoolArchiveOutput *output)
{
    return virStorageFspoolArchiveOutputCheck(output, archive_write_close(output->writer) == ARCHIVE_OK);
}
