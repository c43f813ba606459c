/* process.c: what is the whole process's: its name, where it says why it failed, whether it is to stop, and with whom it works. */
#include "command.h"
#include "program.h"

static const char *program_name = "moeq";
static bool of_ranks;
static FILE *errors;
static atomic_bool interrupted; /* signal handlers have no argument */
static const struct mq_peers *job_peers;

void mq_program_of_ranks(const char *name)
{
    program_name = name;
    of_ranks = true;
}

bool mq_program_has_ranks(void)
{
    return of_ranks;
}

const char *mq_program_name(void)
{
    return program_name;
}

void mq_program_errors_to(FILE *to)
{
    errors = to;
}

FILE *mq_errors(void)
{
    return errors ? errors : stderr;
}

atomic_bool *mq_program_cancel(void)
{
    return &interrupted;
}

void mq_jobs_peers(const struct mq_peers *peers)
{
    job_peers = peers;
}

const struct mq_peers *mq_jobs_are_with(void)
{
    return job_peers;
}

bool mq_is_speaker(void)
{
    return mq_peers_first(job_peers);
}
