/* division.c: see the header. */
#include "division.h"

#include "error.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

/* ---- the file system ---- */

/* Of linux/magic.h and of their own sources. */
static const struct mq_file_system file_systems[] = {
    {0xef53, "ext4", true},
    {0x58465342, "xfs", true},
    {0x9123683e, "btrfs", true},
    {0xf2f52010, "f2fs", true},
    {0x2fc12fc1, "zfs", true},
    {0xca451a4e, "bcachefs", true},
    {0x01021994, "tmpfs", true},
    {0x858458f6, "ramfs", true},
    {0x794c7630, "overlay", true},
    {0x0bd00bd0, "lustre", true},
    {0x47504653, "gpfs", true},
    {0x19830326, "beegfs", true},
    {0x00c36400, "ceph", true},
    {0x7461636f, "ocfs2", true},
    {0x01161970, "gfs2", true},
    {0x6969, "nfs", false},
    {0xff534d42, "cifs", false},
    {0xfe534d42, "smb2", false},
    {0x517b, "smb", false},
    {0x65735546, "fuse", false},
    {0x01021997, "9p", false},
    {0x5346414f, "afs", false},
    {0x6b414653, "afs", false},
};

const struct mq_file_system *mq_file_system_of(uint64_t type)
{
    static const struct mq_file_system unknown = {0, "a file system that moeq does not know", false};
    for (size_t i = 0; i < sizeof file_systems / sizeof *file_systems; i++)
        if (file_systems[i].type == type)
            return &file_systems[i];
    return &unknown;
}

/* That of the folder which a file or folder is to be made in; NULL: it is not there. */
static const struct mq_file_system *file_system_at(const char *output)
{
    char text[PATH_MAX];
    struct statfs fs;
    if (snprintf(text, sizeof text, "%s", output) >= (int)sizeof text ||
        statfs(dirname(text), &fs) != 0)
        return NULL;
    return mq_file_system_of((uint64_t)fs.f_type & 0xffffffff);
}

moeq_status mq_division_look(const struct mq_plan *plan, const char *output,
                             const struct mq_peers *peers, struct mq_division *d, moeq_error *err)
{
    *d = (struct mq_division){.hosts = 1};
    if (mq_peers_count(peers) == 1)
        return MOEQ_OK;
    d->peers = peers;
    for (unsigned r = 0; r < peers->count; r++) {
        const unsigned number = peers->host_number(peers->user, r);
        d->hosts = number >= d->hosts ? number + 1 : d->hosts;
    }
    const struct mq_file_system *fs = output ? file_system_at(output) : NULL;
    if (!fs)
        return MOEQ_OK;
    d->file_system = fs->name;
    d->by_files = d->hosts > 1 && !fs->shared;
    if (!d->by_files || plan->files_count > 1)
        return MOEQ_OK;
    return mq_fail_file(err, MOEQ_INVALID_ARGUMENT, output,
                        "is to be one file on %s, into which %u hosts cannot write at once: give "
                        "--shard-size (of GGUF, --split-max-size), so that each writes files of its own",
                        fs->name, d->hosts);
}

void mq_division_describe(const struct mq_division *d, char *text, size_t room)
{
    const char *plural = d->hosts == 1 ? "" : "s";
    const int n = snprintf(text, room, "%u ranks on %u host%s", mq_peers_count(d->peers), d->hosts,
                           plural);
    if (n < 0 || (size_t)n >= room || !d->file_system)
        return;
    if (d->by_files)
        snprintf(text + n, room - (size_t)n, ", by whole files (%s)", d->file_system);
    else
        snprintf(text + n, room - (size_t)n, ", by ranges of rows");
}

/* ---- dealing ---- */

/* Of `total`, cut into `parts`, that in which the middle of what follows `before` lies. */
static unsigned part_of(uint64_t before, uint64_t work, uint64_t total, unsigned parts)
{
    const double middle = (double)before + 0.5 * (double)work;
    const unsigned part = (unsigned)(middle * parts / ((double)total + 1));
    return part < parts ? part : parts - 1;
}

static void deal_ranges(const struct mq_division *d, const uint64_t *work, size_t count,
                        unsigned *owners)
{
    uint64_t total = 0, before = 0;
    for (size_t i = 0; i < count; i++)
        total += work[i];
    for (size_t i = 0; i < count; before += work[i++])
        owners[i] = part_of(before, work[i], total, d->peers->count);
}

/* Tables of the dealing by files. */
struct by_files {
    uint64_t *work;           /* [files] */
    unsigned *host;           /* [files] whose it is */
    uint64_t *total, *before; /* [hosts] of a host's files; and what of that is dealt */
    unsigned *first;          /* [hosts + 1] where its ranks stand in: */
    unsigned *ranks;          /* [count] one host's after the other's */
};

static void list_ranks(const struct mq_division *d, const struct by_files *t)
{
    const struct mq_peers *peers = d->peers;
    unsigned n = 0;
    for (unsigned host = 0; host < d->hosts; host++) {
        t->first[host] = n;
        for (unsigned r = 0; r < peers->count; r++)
            if (peers->host_number(peers->user, r) == host)
                t->ranks[n++] = r;
    }
    t->first[d->hosts] = n;
}

static void deal_files(const struct mq_division *d, const uint64_t *work, const uint32_t *files,
                       size_t files_count, size_t count, const struct by_files *t, unsigned *owners)
{
    uint64_t total = 0, before = 0;
    list_ranks(d, t);
    for (size_t i = 0; i < count; i++) {
        t->work[files[i]] += work[i];
        total += work[i];
    }
    for (size_t f = 0; f < files_count; before += t->work[f++]) {
        const unsigned part = part_of(before, t->work[f], total, d->peers->count);
        while (part >= t->first[t->host[f] + 1])
            t->host[f]++;
        t->total[t->host[f]] += t->work[f];
    }
    for (size_t i = 0; i < count; i++) {
        const unsigned host = t->host[files[i]], first = t->first[host];
        owners[i] = t->ranks[first + part_of(t->before[host], work[i], t->total[host],
                                             t->first[host + 1] - first)];
        t->before[host] += work[i];
    }
}

moeq_status mq_division_deal(const struct mq_division *d, const uint64_t *work,
                             const uint32_t *files, size_t files_count, size_t count,
                             unsigned *owners, moeq_error *err)
{
    if (!files) {
        deal_ranges(d, work, count, owners);
        return MOEQ_OK;
    }
    const struct by_files t = {.work = calloc(files_count, sizeof *t.work),
                               .host = calloc(files_count, sizeof *t.host),
                               .total = calloc(d->hosts, sizeof *t.total),
                               .before = calloc(d->hosts, sizeof *t.before),
                               .first = calloc(d->hosts + 1, sizeof *t.first),
                               .ranks = calloc(d->peers->count, sizeof *t.ranks)};
    const bool ok = t.work && t.host && t.total && t.before && t.first && t.ranks;
    if (ok)
        deal_files(d, work, files, files_count, count, &t, owners);
    free(t.work);
    free(t.host);
    free(t.total);
    free(t.before);
    free(t.first);
    free(t.ranks);
    return ok ? MOEQ_OK : mq_fail_memory(err, "dealing the work to ranks");
}

/* ---- files that belong together ---- */

static uint32_t root_of(uint32_t *groups, uint32_t file)
{
    while (groups[file] != file)
        file = groups[file] = groups[groups[file]];
    return file;
}

static void join(uint32_t *groups, uint32_t a, uint32_t b)
{
    const uint32_t x = root_of(groups, a), y = root_of(groups, b);
    groups[x > y ? x : y] = x > y ? y : x;
}

void mq_division_group_files(const struct mq_plan *plan, uint32_t *groups)
{
    for (uint32_t i = 0; i < plan->files_count; i++)
        groups[i] = i;
    for (size_t i = 0; i < plan->view->tensors_count; i++) {
        const struct mq_plan_entry *e = &plan->entries[i];
        const uint32_t first = e->split ? e->parts[0].file : e->file;
        for (uint32_t k = 1; e->split && k < e->split->parts_count; k++)
            join(groups, first, e->parts[k].file);
        if (e->form && e->second.level)
            join(groups, first, e->second.file);
    }
    for (uint32_t i = 0; i < plan->files_count; i++)
        groups[i] = root_of(groups, i);
}
