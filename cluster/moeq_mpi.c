/* moeq_mpi.c: moeq's commands as one rank of several. */
#include "mpi_peers.h"
#include "program.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    mq_program_begin(argv);
    mq_program_of_ranks("moeq-mpi");
    setenv("NO_COLOR", "1", 0); /* mpirun makes any stdout a terminal, whatever its own is */
    const struct mq_peers *peers = mq_mpi_begin(&argc, &argv, mq_program_cancel());
    const int code = mq_program(argc, argv, peers);
    return mq_mpi_end(code, mq_program_is_verbose());
}
