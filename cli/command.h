/*
 * command.h: the subcommand table, and the options that subcommands share.
 *
 * A subcommand is one cmd_*.c and one row in commands.c. Its help text is generated from the row
 * and the option table, so an option that is accepted is an option that is documented.
 */
#ifndef MQ_COMMAND_H
#define MQ_COMMAND_H

#include "buffer.h"
#include "context.h"
#include "moeq.h"
#include "nearest.h"
#include "sizes.h"
#include "terminal_text.h"

#include <cjson/cJSON.h>
#include <limits.h>

enum mq_exit {
    MQ_EXIT_GOOD = 0,
    MQ_EXIT_FAILURE = 1,
    MQ_EXIT_USAGE = 2,
    MQ_EXIT_REGRESSION = 3,
    MQ_EXIT_INTERRUPTED = 130, /* 128 + SIGINT, as shells expect */
};

/* Repeated options keep the command line's strings; behind the last of them, if any, stands NULL.
 */
struct mq_option_list {
    const char **values;
    size_t count;
};

/* All options of all subcommands, as parsed. */
struct mq_options {
    const char **positional;
    int positional_count;
    /* output and levels */
    const char *output, *level, *levels, *recipe, *shared, *attention, *embeddings, *effort, *unify,
        *sha256, *format;
    const char *bpw, *granularity, *attribute, *holdout, *calibration;
    uint64_t split_bytes, shard_bytes, size, tp;
    struct mq_option_list tensor, report;
    bool dry_run, force, merge, tensors, list_families, allow_nonfinite, allow_loss;
    /* how models are read */
    struct mq_option_list ignore_config;
    const char *sliding_window, *lm_head;
    bool no_check;
    /* text and evaluation */
    struct mq_option_list text, calibration_text, tasks;
    struct mq_option_list files;
    const char *string, *jsonl, *ids, *dump, *protocol, *compute;
    uint64_t tokens, context;
    bool dump_hidden, no_bos, decode, swap, noise_floor;
    /* generate */
    const char *prompt, *prompt_file, *chat, *chat_file, *system, *temperature, *top_p, *seed;
    uint64_t count, top_k;
    bool echo, ignore_eos;
    const char *samples; /* of sweep */
    /* fit */
    const char *gpu, *vram, *ram, *bandwidth, *kv, *quality, *runtime;
    uint64_t gpu_context;
    bool list_gpus, no_flash_attention;
    /* verify */
    const char *charts, *card, *base_model; /* beside `report` */
    const char *manifest, *write_manifest;  /* of check */
    const char *against, *gate, *write_gate, *margin, *junit;
    const char *columns, *color;
    bool gate_all, gate_texts, list_metrics;
    /* common */
    uint64_t threads, memory, batch, pipelines;
    const char *scratch;
    bool json, quiet, verbose, progress, no_progress, help;
};

enum { MQ_ANY = INT_MAX };

struct mq_command {
    const char *name, *arguments; /* "convert", "MODEL -o OUT --level LEVEL" */
    const char *summary;          /* one line for `moeq --help` */
    const char *description;      /* paragraphs for its own --help, wrapped at 80 columns */
    const char *options;          /* names of the options that it takes: "output level ..." */
    const char *common;           /* of those that many commands share: "json quiet ..." */
    const char *examples;
    bool divided; /* ranks share it (moeq-mpi); of others, rank 0 does all */
    int positional_min, positional_max; /* MQ_ANY: the command says how many */
    enum mq_exit (*run)(const struct mq_options *options);
};

/* One in each cmd_*.c; commands.c refers to them. */
enum mq_exit mq_cmd_convert(const struct mq_options *options);
enum mq_exit mq_cmd_export(const struct mq_options *options);
enum mq_exit mq_cmd_inspect(const struct mq_options *options);
enum mq_exit mq_cmd_calibrate(const struct mq_options *options);
enum mq_exit mq_cmd_check(const struct mq_options *options);
enum mq_exit mq_cmd_eval(const struct mq_options *options);
enum mq_exit mq_cmd_sweep(const struct mq_options *options);
enum mq_exit mq_cmd_generate(const struct mq_options *options);
enum mq_exit mq_cmd_fit(const struct mq_options *options);
enum mq_exit mq_cmd_record(const struct mq_options *options);
enum mq_exit mq_cmd_verify(const struct mq_options *options);
enum mq_exit mq_cmd_report(const struct mq_options *options);
enum mq_exit mq_cmd_tokenize(const struct mq_options *options);

extern const struct mq_command mq_commands[];
extern const size_t mq_commands_count;

/* Parses argv for a command. False after a message on stderr (exit code 2). */
bool mq_options_parse(const struct mq_command *command, int argc, char **argv,
                      struct mq_options *options);
/* What a process leaves out that is none to print: files that only one writes, at the end. */
void mq_options_keep_silent(struct mq_options *options);
/* MQ_EXIT_USAGE after a message where an input is a stream, which only one process can read. */
enum mq_exit mq_options_refuse_streams(const struct mq_command *command,
                                       const struct mq_options *options);
void mq_options_free(struct mq_options *options);

/* What help says of an option. */
struct mq_option_words {
    const char *name, *value, *help; /* value: NULL of flags */
    char letter;                     /* 0: none */
    bool repeats;
};

/* Row i of the table of options. False at its end, or where the command (NULL: any) does not show it. */
bool mq_option_at(const struct mq_command *command, size_t i, struct mq_option_words *words);

/* Help on stdout. */
void mq_print_command_help(const struct mq_command *command);

const char *mq_program_name(void); /* "moeq" */
bool mq_program_has_ranks(void);   /* whether there is what is for one of several processes */
FILE *mq_errors(void);             /* where the reason of a failure goes: stderr, in a program alone */
/* "moeq: message" there; the exit code that belongs to the status. */
enum mq_exit mq_report(const moeq_error *err);
/* Gives its argument back; where that is NULL, says that there was no memory for it, and ends the program with
 * MQ_EXIT_FAILURE: options are read before anything is opened that would have to be closed. */
void *mq_option_memory(void *memory);
/* "moeq convert: message" and where help is; MQ_EXIT_USAGE. */
enum mq_exit mq_usage(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same of what is wrong and the command that does it: `form` and `words` are mq_shell_command's. */
enum mq_exit mq_usage_instead(const char *command, const char *what, const char *form,
                              const char *const *words);

/* One JSON document on stdout, and the tree is freed. Failing to write is a failure. */
enum mq_exit mq_print_json(cJSON *document);

/* Flushes stdout; a full disk or closed pipe becomes a failure. */
enum mq_exit mq_finish_output(void);
/* The text of a buffer, to be printed at once; "" where memory was short, which mq_finish_output makes a failure. */
const char *mq_printable(const struct mq_buffer *text);
void mq_left_unprinted(bool no_memory); /* of other things than buffers */

/* The context for a job: threads, memory, kernels, progress bar on stderr, Ctrl-C. */
struct mq_job_ui {
    struct mq_context context;
    struct mq_progress_state *progress;
};
bool mq_job_begin(const struct mq_options *options, struct mq_job_ui *ui);
void mq_jobs_peers(const struct mq_peers *peers); /* of all contexts from now on */
const struct mq_peers *mq_jobs_are_with(void);    /* the same; NULL: this process is alone */
bool mq_is_speaker(void); /* whether this process prints and writes what only one does: it is alone, or rank 0 */
void mq_job_end(struct mq_job_ui *ui); /* clears the progress line */

/* "1 h 02 min", "4.2 s" */
const char *mq_format_seconds(double seconds, char text[32]);
/* "1 token", "12 tokens" */
const char *mq_counted(uint64_t n, const char *word, char text[64]);
double mq_now_seconds(void);

#endif
