/* moeq_mpi.c: moeq's commands as one rank of several. */
#include "mpi_peers.h"
#include "program.h"

#include <fcntl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    mq_program_begin(argv);
    const struct mq_peers *peers = mq_mpi_begin(&argc, &argv, mq_program_cancel());
    if (!mq_peers_first(peers)) { /* rank 0 is the one that speaks */
        const int nothing = open("/dev/null", O_WRONLY);
        dup2(nothing, STDOUT_FILENO);
        close(nothing);
    }
    return mq_mpi_end(mq_program(argc, argv, peers));
}
