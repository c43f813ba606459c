/* mpi_peers.c: see the header. A message is cut into pieces, since MPI counts in int. */
#include "mpi_peers.h"

#include "error.h"

#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECE_BYTES = 1 << 28 };

struct mq_message {
    char *bytes;
    uint64_t n;
    size_t pieces;
    MPI_Request requests[]; /* [pieces] */
};

struct mpi_peers {
    struct mq_peers peers;
    MPI_Comm comm;
    atomic_bool *cancel;
    char (*hosts)[MPI_MAX_PROCESSOR_NAME];
};

static struct mpi_peers mpi; /* as MPI itself: one of a process */

static struct mq_message *message_of(uint64_t n)
{
    const size_t pieces = (size_t)((n + PIECE_BYTES - 1) / PIECE_BYTES);
    struct mq_message *m = calloc(1, sizeof *m + pieces * sizeof *m->requests);
    if (!m)
        return NULL;
    m->bytes = malloc(n + 1);
    m->n = n;
    m->pieces = pieces;
    if (m->bytes)
        return m;
    free(m);
    return NULL;
}

static int piece_bytes(const struct mq_message *m, size_t i)
{
    const uint64_t left = m->n - i * (uint64_t)PIECE_BYTES;
    return (int)(left < PIECE_BYTES ? left : PIECE_BYTES);
}

static moeq_status begin_send(void *user, unsigned to, enum mq_channel channel, const void *bytes,
                              uint64_t n, struct mq_message **message, moeq_error *err)
{
    struct mpi_peers *p = user;
    struct mq_message *m = *message = message_of(n);
    if (!m)
        return mq_fail_memory(err, "sending");
    memcpy(m->bytes, bytes, n);
    for (size_t i = 0; i < m->pieces; i++)
        MPI_Isend(m->bytes + i * (uint64_t)PIECE_BYTES, piece_bytes(m, i), MPI_BYTE, (int)to,
                  (int)channel, p->comm, &m->requests[i]);
    return MOEQ_OK;
}

static moeq_status begin_receive(void *user, unsigned from, enum mq_channel channel, uint64_t n,
                                 struct mq_message **message, moeq_error *err)
{
    struct mpi_peers *p = user;
    struct mq_message *m = *message = message_of(n);
    if (!m)
        return mq_fail_memory(err, "receiving");
    for (size_t i = 0; i < m->pieces; i++)
        MPI_Irecv(m->bytes + i * (uint64_t)PIECE_BYTES, piece_bytes(m, i), MPI_BYTE, (int)from,
                  (int)channel, p->comm, &m->requests[i]);
    return MOEQ_OK;
}

static moeq_status wait_for(void *user, struct mq_message **message, void *bytes, moeq_error *err)
{
    struct mpi_peers *p = user;
    struct mq_message *m = *message;
    (void)p, (void)err;
    if (!m)
        return MOEQ_OK;
    for (int done = 0; !done;) {
        const struct timespec some = {0, 200000};
        MPI_Testall((int)m->pieces, m->requests, &done, MPI_STATUSES_IGNORE);
        if (!done)
            nanosleep(&some, NULL);
    }
    if (bytes)
        memcpy(bytes, m->bytes, m->n);
    free(m->bytes);
    free(m);
    *message = NULL;
    return MOEQ_OK;
}

static const char *host(void *user, unsigned rank)
{
    const struct mpi_peers *p = user;
    return p->hosts[rank];
}

static unsigned host_number(void *user, unsigned rank)
{
    const struct mpi_peers *p = user;
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

const struct mq_peers *mq_mpi_begin(int *argc, char ***argv, atomic_bool *cancel)
{
    int provided, rank, count, n;
    char name[MPI_MAX_PROCESSOR_NAME] = "";
    MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided);
    if (provided < MPI_THREAD_MULTIPLE) {
        fprintf(stderr, "moeq-mpi: this MPI library gives no MPI_THREAD_MULTIPLE\n");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    MPI_Comm_dup(MPI_COMM_WORLD, &mpi.comm);
    MPI_Comm_rank(mpi.comm, &rank);
    MPI_Comm_size(mpi.comm, &count);
    MPI_Get_processor_name(name, &n);
    mpi.hosts = calloc((size_t)count, sizeof *mpi.hosts);
    MPI_Allgather(name, MPI_MAX_PROCESSOR_NAME, MPI_CHAR, mpi.hosts, MPI_MAX_PROCESSOR_NAME, MPI_CHAR,
                  mpi.comm);
    mpi.cancel = cancel;
    mpi.peers = (struct mq_peers){.user = &mpi,
                                  .rank = (unsigned)rank,
                                  .count = (unsigned)count,
                                  .send = begin_send,
                                  .receive = begin_receive,
                                  .wait = wait_for,
                                  .host = host,
                                  .host_number = host_number};
    return count > 1 ? &mpi.peers : NULL;
}

int mq_mpi_end(int exit_code)
{
    MPI_Barrier(mpi.comm);
    free(mpi.hosts);
    MPI_Comm_free(&mpi.comm);
    MPI_Finalize();
    return exit_code;
}
