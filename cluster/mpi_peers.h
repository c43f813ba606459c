/* mpi_peers.h: the ranks of an MPI program as peers (formats/base/peers.h). */
#ifndef MQ_MPI_PEERS_H
#define MQ_MPI_PEERS_H

#include "peers.h"

#include <stdatomic.h>

/* MPI_Init, and the peers; NULL where there is one rank. Exits with a message where MPI fails. `cancel` is set when another
 * rank fails. */
const struct mq_peers *mq_mpi_begin(int *argc, char ***argv, atomic_bool *cancel);

/* This rank has ended with so much; what the program is to exit with. Not called where MPI was not begun. */
int mq_mpi_end(int exit_code);

#endif
