/* output_int.h: the files being written, and the journal of what is finished in them. */
#ifndef MQ_OUTPUT_INT_H
#define MQ_OUTPUT_INT_H

#include "buffer.h"
#include "convert.h"
#include "journal.h"

#include <limits.h>

struct mq_differences; /* (against.c) */

struct mq_output_file {
    struct mq_differences *differences; /* where it is only compared; otherwise NULL */
    int fd; /* -1 where closed */
    uint64_t bytes;
    char path[PATH_MAX], part[PATH_MAX];
};

struct mq_output {
    struct mq_output_file *files; /* one for each of the plan's */
    size_t files_count;
    const struct mq_peers *peers; /* who writes to the parts too; NULL: nobody */
    int journal_fd;         /* -1 where closed; of this process's own: */
    char own_journal[PATH_MAX];
    uint64_t journal_bytes; /* of whole lines */
    uint64_t synced_bytes;  /* of those, what is on the disk with all that they speak of */
    char journal[PATH_MAX], states[PATH_MAX]; /* OUT.part.journal; (kept_states.h) */
    /* Where the output is a folder: OUT, and OUT.part, whose files are the parts, by their own names. */
    bool is_folder;
    int folder_fd; /* -1 where closed */
    char folder[PATH_MAX], folder_part[PATH_MAX];
};

/* The checks that need no writing: see mq_convert. */
moeq_status mq_output_check(const struct mq_plan *plan, const struct mq_convert_options *options,
                            moeq_error *err);

/*
 * Opens each file's part and the journal, and locks them against another conversion to the same
 * OUT. If the journal is of this very plan, gives its lines (to be freed); otherwise (NULL) starts
 * afresh, with the files' whole sizes reserved.
 *
 * With peers, rank 0 does that, and all get the lines; the others open the parts, and each a journal of its own,
 * OUT.part.journal.RANK, which the next run joins to OUT.part.journal, whatever its number of ranks.
 */
moeq_status mq_output_open(const struct mq_plan *plan, const struct mq_convert_options *options,
                           const struct mq_peers *peers, struct mq_output *output,
                           struct mq_journal_line **lines, size_t *count, moeq_error *err);

/* Appends lines to the journal. */
moeq_status mq_output_note(struct mq_output *output, const struct mq_buffer *text, moeq_error *err);

/* Makes durable the parts and then the journal, whose first `upto` bytes speak of what was written
 * before this call. If that fails, takes back from the journal what was never made so: data that
 * could not be synced may be lost and look well nevertheless, until it leaves the kernel's cache. */
moeq_status mq_output_sync(struct mq_output *output, uint64_t upto, moeq_error *err);

/* Every rank but rank 0 has written all it is to write: makes it durable, and closes. */
moeq_status mq_output_leave(struct mq_output *output, moeq_error *err);

/* Other machines have written to the parts: what rank 0 has of them in its cache is looked at anew. */
void mq_output_refresh(const struct mq_output *output);

/* A number that is another one when one of the parts was written to, by whomever. With peers, rank 0's, at every rank. */
moeq_status mq_output_stamp(const struct mq_output *output, uint32_t *stamp, moeq_error *err);

/* What must be equal for a part to be continued. */
uint32_t mq_output_identity(const struct mq_plan *plan);

/* Fails at every rank unless all have the same plan, of files of the same sizes, times and headers. */
moeq_status mq_output_check_peers(const struct mq_plan *plan, const struct mq_peers *peers,
                                  moeq_error *err);

/* Writes the index of a model in several files; crcs[i] is the last word of file i's checksums. */
moeq_status mq_output_write_index(const struct mq_plan *plan, const struct mq_output *output,
                                  const uint32_t *crcs, moeq_error *err);

/* Syncs, renames the parts to their names and removes the journal and what an encoder has kept. */
moeq_status mq_output_finish(const struct mq_plan *plan, struct mq_output *output, moeq_error *err);

/* Removes parts, journal and kept states, in which nothing is worth keeping. Close afterwards. */
void mq_output_discard(const struct mq_output *output);

/* Closes; unfinished parts stay for a later run. */
void mq_output_close(struct mq_output *output);

/*
 * output_ranks.c: the journals beside OUT.part.journal.
 *
 * `left`: those that an earlier run has left, and what they say. A file that has such a name and is something else is
 * left alone, and an error where this run's own would be. Locked ones are of a run that has lost its rank 0 only.
 */
struct mq_ranks_left {
    unsigned *ranks;
    size_t count;
    struct mq_journal_line *lines; /* to be appended to those of OUT.part.journal */
    size_t lines_count;
};
/* lines[count]: those of OUT.part.journal, of plan `identity`. Free it in any case. */
moeq_status mq_ranks_look(const struct mq_output *output, uint32_t identity,
                          const struct mq_journal_line *lines, size_t count,
                          struct mq_ranks_left *left, moeq_error *err);
void mq_ranks_left_remove(const struct mq_output *output, const struct mq_ranks_left *left);
void mq_ranks_left_free(struct mq_ranks_left *left);
/* Rank 0 makes a journal for each of the others, who find their own by it: `run` is a number of this run's, which says
 * that they see the same files. */
moeq_status mq_ranks_create(const struct mq_output *output, uint32_t identity, uint32_t run,
                            moeq_error *err);
moeq_status mq_ranks_open(struct mq_output *output, uint32_t identity, uint32_t run,
                          moeq_error *err);
void mq_ranks_remove(const struct mq_output *output); /* this run's */

/*
 * output_folder.c: a folder is unfinished as OUT.part, whose lock stands for the locks of all its files, and gets its name
 * by one rename when all in it is on the disk. One that is replaced must have nothing in it but what such outputs have.
 */
bool mq_folder_name(const char *output,
                    char path[PATH_MAX]); /* without slashes at its end; false: too long */
moeq_status mq_folder_check(const struct mq_plan *plan, const char *folder, bool replace,
                            moeq_error *err);
moeq_status mq_folder_open(struct mq_output *output, moeq_error *err);
moeq_status mq_folder_refuse_foreign(const struct mq_plan *plan, const struct mq_output *output,
                                     moeq_error *err);
moeq_status mq_folder_remove_others(const struct mq_plan *plan, const struct mq_output *output,
                                    moeq_error *err);
moeq_status mq_folder_finish(const struct mq_plan *plan, struct mq_output *output, moeq_error *err);
void mq_folder_discard(const struct mq_output *output);

#endif
