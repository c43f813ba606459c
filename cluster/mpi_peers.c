/* mpi_peers.c: see the header. */
#include "mpi_peers.h"

#include "program.h"
#include "ranks.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct mq_ranks mpi; /* as MPI itself: one of a process */

/* What this rank's command says of its failure; and, of other ranks than 0, all else that it says. */
static FILE *errors;
static char *errors_text;
static size_t errors_bytes;
static int kept_fd = -1; /* of the latter */

static const char *host(void *user, unsigned rank)
{
    const struct mq_ranks *r = user;
    return r->hosts[rank];
}

static unsigned host_number(void *user, unsigned rank)
{
    const struct mq_ranks *p = user;
    unsigned number = 0;
    for (unsigned r = 0; r <= rank; r++) {
        unsigned same = 0;
        while (strcmp(p->hosts[same], p->hosts[r]) != 0)
            same++;
        if (strcmp(p->hosts[r], p->hosts[rank]) == 0)
            return number;
        number += same == r;
    }
    return number;
}

static void far(void *user, const struct mq_far *own, struct mq_far *all)
{
    mq_control_far(user, own, all);
}

static void abort_begin(const char *what)
{
    fprintf(stderr, "moeq-mpi: %s\n", what);
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
}

/* Who shares this machine, and its processors, with this rank. */
static void count_neighbours(struct mq_ranks *r, int count)
{
    const unsigned own = r->peers.rank;
    cpu_set_t mask, *masks = calloc((size_t)count, sizeof *masks);
    CPU_ZERO(&mask);
    sched_getaffinity(0, sizeof mask, &mask);
    if (!masks)
        abort_begin("out of memory");
    MPI_Allgather(&mask, sizeof mask, MPI_BYTE, masks, sizeof mask, MPI_BYTE, r->data);
    for (int k = 0; k < count; k++) {
        const bool same = strcmp(r->hosts[k], r->hosts[own]) == 0;
        r->peers.on_host += same;
        r->peers.on_cpus += same && CPU_EQUAL(&masks[k], &mask);
    }
    free(masks);
}

/* Rank 0 is the one that speaks. A copy of stderr as it was. */
static int hush(bool speaks)
{
    const int err_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    errors = open_memstream(&errors_text, &errors_bytes);
    if (!errors)
        abort_begin("out of memory");
    mq_program_errors_to(errors);
    if (speaks)
        return err_fd;
    const int nothing = open("/dev/null", O_WRONLY | O_CLOEXEC);
    kept_fd = memfd_create("moeq-mpi", MFD_CLOEXEC);
    FILE *kept = kept_fd < 0 ? NULL : fdopen(kept_fd, "w");
    if (nothing < 0 || !kept || dup2(nothing, STDOUT_FILENO) < 0)
        abort_begin("/dev/null cannot be opened, or no memory be had for a rank's messages");
    if (!kept)
        exit(EXIT_FAILURE); /* where MPI_Abort comes back */
    close(nothing);
    setvbuf(kept, NULL, _IONBF, 0);
    stderr = kept; /* not the descriptor: what a library says when it ends the process is to be seen */
    return err_fd;
}

const struct mq_peers *mq_mpi_begin(int *argc, char ***argv, atomic_bool *cancel)
{
    int provided, rank, count, n;
    char name[MPI_MAX_PROCESSOR_NAME] = "";
    MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &count);
    if (count == 1)
        return NULL;
    if (provided < MPI_THREAD_MULTIPLE)
        abort_begin("this MPI library gives no MPI_THREAD_MULTIPLE");
    MPI_Comm_dup(MPI_COMM_WORLD, &mpi.data);
    MPI_Comm_dup(MPI_COMM_WORLD, &mpi.control);
    MPI_Get_processor_name(name, &n);
    mpi.hosts = calloc((size_t)count, sizeof *mpi.hosts);
    if (!mpi.hosts)
        abort_begin("out of memory");
    MPI_Allgather(name, MPI_MAX_PROCESSOR_NAME, MPI_CHAR, mpi.hosts, MPI_MAX_PROCESSOR_NAME,
                  MPI_CHAR, mpi.data);
    mpi.peers = (struct mq_peers){.user = &mpi,
                                  .rank = (unsigned)rank,
                                  .count = (unsigned)count,
                                  .far = far,
                                  .host = host,
                                  .host_number = host_number};
    count_neighbours(&mpi, count);
    mq_messages_begin(&mpi);
    mq_control_begin(&mpi, cancel, hush(rank == 0));
    return &mpi.peers;
}

/* What was said beside `errors` before a failure, if that was all: the end of it. */
static void read_kept(char *text, size_t room)
{
    const off_t end = lseek(kept_fd, 0, SEEK_END),
                from = end > (off_t)room - 1 ? end - ((off_t)room - 1) : 0;
    const ssize_t n = end > 0 ? pread(kept_fd, text, room - 1, from) : 0;
    text[n > 0 ? n : 0] = '\0';
}

int mq_mpi_end(int exit_code, bool verbose)
{
    if (mpi.peers.count > 1) {
        char kept[1000] = "";
        fflush(NULL);
        fflush(errors); /* which the line above leaves out */
        if (exit_code && !errors_bytes && mpi.peers.rank)
            read_kept(kept, sizeof kept);
        exit_code = mq_control_end(&mpi, exit_code, errors_bytes ? errors_text : kept, verbose);
        mq_program_errors_to(NULL);
        fclose(errors);
        free(errors_text);
        free(mpi.hosts);
        MPI_Comm_free(&mpi.data);
        MPI_Comm_free(&mpi.control);
    }
    MPI_Finalize();
    alarm(0);
    return exit_code;
}
