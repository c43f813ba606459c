/* rank_ends.c: see the header. */
#include "rank_ends.h"

#include "command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool mq_all_true(const bool *flags, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (!flags[i])
            return false;
    return true;
}

bool mq_ends_is_failure(const struct mq_rank_end *end)
{
    return end->ended && end->code != MQ_EXIT_GOOD && end->code != MQ_EXIT_REGRESSION;
}

/* How much it explains: a rank that is lost, one that failed, one that was stopped by a signal, by another's failure. */
static int weight(const struct mq_rank_end *end)
{
    return !mq_ends_is_failure(end)           ? 0
           : end->followed                    ? 1
           : end->code == MQ_EXIT_INTERRUPTED ? 2
           : end->lost                        ? 4
                                              : 3;
}

/* The lowest of those that explain most. */
static unsigned cause_of(const struct mq_rank_end *ends, unsigned count)
{
    unsigned cause = 0;
    for (unsigned r = 1; r < count; r++)
        if (weight(&ends[r]) > weight(&ends[cause]))
            cause = r;
    return cause;
}

/* Behind "moeq-mpi: " or "moeq-mpi convert: ". */
static const char *message_of(const struct mq_rank_end *end)
{
    const char *colon = strncmp(end->text, "moeq", 4) == 0 ? strstr(end->text, ": ") : NULL;
    return colon ? colon + 2 : end->text;
}

static bool is_everyones(const struct mq_rank_end *ends, unsigned count)
{
    for (unsigned r = 0; r < count; r++)
        if (ends[r].code != ends[0].code || ends[r].followed ||
            strcmp(ends[r].text, ends[0].text) != 0)
            return false;
    return true;
}

static void name_rank(const struct mq_rank_end *end, unsigned rank, const char *host,
                      char text[MQ_RANK_TEXT])
{
    const char *message = message_of(end);
    if (end->lost || strncmp(message, "rank ", 5) == 0) /* it names one itself */
        snprintf(text, MQ_RANK_TEXT, "%s", message);
    else
        snprintf(text, MQ_RANK_TEXT, "rank %u on %.255s: %.1700s", rank, host,
                 message[0] ? message : "failed");
}

int mq_ends_cause(const struct mq_rank_end *ends, unsigned count, mq_host_fn *host, void *user,
                  char text[MQ_RANK_TEXT])
{
    const unsigned r = cause_of(ends, count);
    name_rank(&ends[r], r, host(user, r), text);
    text[strcspn(text, "\n")] = '\0';
    return ends[r].code;
}

int mq_ends_verdict(const struct mq_rank_end *ends, unsigned count, mq_host_fn *host, void *user,
                    char text[2 * MQ_RANK_TEXT])
{
    const unsigned r = cause_of(ends, count);
    char named[MQ_RANK_TEXT];
    text[0] = '\0';
    if (!mq_ends_is_failure(&ends[r]))
        return ends[0].code;
    if (is_everyones(ends, count) || ends[r].code == MQ_EXIT_INTERRUPTED ||
        ends[r].code == MQ_EXIT_USAGE ||
        (r == 0 && !ends[r].text[0])) { /* rank 0 has said it itself */
        snprintf(text, MQ_RANK_TEXT, "%s", ends[r].text);
    } else {
        name_rank(&ends[r], r, host(user, r), named);
        snprintf(text, 2 * MQ_RANK_TEXT, "moeq-mpi: %s%s", named, strchr(named, '\n') ? "" : "\n");
    }
    return ends[r].code;
}

void mq_ends_traffic(const struct mq_rank_end *end, unsigned rank, const char *host,
                     char text[MQ_RANK_TEXT])
{
    snprintf(text, MQ_RANK_TEXT,
             "moeq-mpi: rank %u on %s: %" PRIu64 " bytes read, %" PRIu64 " sent, %" PRIu64
             " received\n",
             rank, host, end->read, end->sent, end->received);
}
