/* mpi_peers.h: the ranks of an MPI program as peers (formats/base/peers.h). */
#ifndef MQ_MPI_PEERS_H
#define MQ_MPI_PEERS_H

#include "peers.h"

#include <stdatomic.h>

/* MPI_Init, and the peers; NULL where there is one rank. Of others than rank 0, nothing is seen from now on: what they have
 * to say of a failure, rank 0 says. Exits with a message where MPI fails. `cancel` is set when another rank fails. */
const struct mq_peers *mq_mpi_begin(int *argc, char ***argv, atomic_bool *cancel);

/* The command of this rank has ended with so much; what the program is to exit with, the same on all ranks. `verbose`: rank 0
 * prints how many bytes each rank has read, sent and received. */
int mq_mpi_end(int exit_code, bool verbose);

#endif
