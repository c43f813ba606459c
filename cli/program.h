/* program.h: the whole program, for its main functions: moeq's, and moeq-mpi's (cluster/). */
#ifndef MQ_PROGRAM_H
#define MQ_PROGRAM_H

#include "peers.h"

#include <stdatomic.h>
#include <stdio.h>

/* First of all: sets what threads and signals do, for which the program may begin anew. */
void mq_program_begin(char **argv);

/* Set by Ctrl-C and its kin; jobs stop when it is. */
atomic_bool *mq_program_cancel(void);

/* Before all else: this program has this name in place of "moeq", and what is for one of several processes. */
void mq_program_of_ranks(const char *name);

/* Where a command says why it failed, from now on: not at once on stderr, if there are others that may say the same. */
void mq_program_errors_to(FILE *errors);

/* Whether the command was asked to print more. */
bool mq_program_is_verbose(void);

/* Shows how far all are, when this process has nothing to tell. From any thread. */
void mq_program_progress_again(void);

/* Finds the command and runs it; the exit code. peers NULL: alone. */
int mq_program(int argc, char **argv, const struct mq_peers *peers);

#endif
