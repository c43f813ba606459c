/* program.c: finds the subcommand and runs it. */
#include "program.h"

#include "command.h"
#include "completion.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const struct mq_command *find_command(const char *name)
{
    for (size_t i = 0; i < mq_commands_count; i++)
        if (strcmp(mq_commands[i].name, name) == 0)
            return &mq_commands[i];
    return NULL;
}

static enum mq_exit unknown_command(const char *name)
{
    const char *names[16];
    size_t n = 0;
    for (; n < mq_commands_count && n < 16; n++)
        names[n] = mq_commands[n].name;
    const char *near = mq_nearest(name, names, n);
    if (near)
        return mq_usage(NULL, "unknown command '%s'; did you mean '%s'?", name, near);
    return mq_usage(NULL, "unknown command '%s'", name);
}

/* moeq completion SHELL: no row of the table of commands, which it reads. */
static enum mq_exit print_completion(int argc, char **argv)
{
    const struct mq_completion *found = NULL;
    char known[64] = "";
    for (size_t i = 0, n = 0; i < mq_completions_count; i++) {
        if (argc == 3 && strcmp(mq_completions[i].shell, argv[2]) == 0)
            found = &mq_completions[i];
        n += (size_t)snprintf(known + n, sizeof known - n, "%s%s", i ? "|" : "",
                              mq_completions[i].shell);
    }
    if (!found)
        return mq_usage(NULL, "expected: moeq completion %s", known);
    found->print();
    return mq_finish_output();
}

static void print_help(void)
{
    const char *name = mq_program_name();
    printf("usage: %s COMMAND [ARGUMENTS] [OPTIONS]\n\n"
           "Converts, evaluates and referees quantized Mixture-of-Experts language models\n"
           "on machines with much less memory than the model.\n\ncommands:\n",
           name);
    for (size_t i = 0; i < mq_commands_count; i++)
        printf("  %-10s %s\n", mq_commands[i].name, mq_commands[i].summary);
    printf("\nMODEL is a Hugging Face folder, owner/name of a repository in the local Hugging\n"
           "Face cache, a moeq file (of several, their index), or a GGUF file.\n\n"
           "moeq COMMAND --help explains a command; moeq --version prints the version;\n"
           "moeq completion bash|zsh|fish prints a script with which a shell completes what\n"
           "is typed: source <(moeq completion bash).\n");
    if (!mq_program_has_ranks())
        return;
    printf("\nRanks (mpirun -n 4 moeq-mpi COMMAND ..., or srun; best one a node) share the work of");
    for (size_t i = 0, n = 0; i < mq_commands_count; i++)
        if (mq_commands[i].divided)
            printf("%s%s", n++ ? ", " : "\n", mq_commands[i].name);
    printf("; rank 0 does\nall else alone. Files and figures are those of one process, bit for bit. All ranks\n"
           "are given the same files, and end together, with one exit code and one message.\n"
           "-v prints what each rank read and sent.\n");
}

/*
 * A thread that has done its part of a parallel loop waits for the others without giving its core
 * away, for about a millisecond with GCC's OpenMP, which is longer than the loop of a small matrix. On a
 * machine with other work that is time taken from the thread waited for (three times the wall clock of
 * a model of many small experts). The runtime reads the variable before main, so the program begins
 * anew; where that fails, it goes on as it is.
 */
static void wait_less(char **argv)
{
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY") || setenv("GOMP_SPINCOUNT", "3000", 0))
        return;
    execv("/proc/self/exe", argv);
}

void mq_program_begin(char **argv)
{
    wait_less(argv);
    /* A closed pipe and a file size limit (ulimit -f) show as failed writes, with a message. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

static bool verbose;

bool mq_program_is_verbose(void)
{
    return verbose;
}

/* What ranks may be told apart in, what their machines have: how many arguments that is from this one on. */
static int own_arguments(const char *argument)
{
    static const char *const names[] = {"--threads", "--memory", "--scratch"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const size_t n = strlen(names[i]);
        if (strncmp(argument, names[i], n) == 0 && (!argument[n] || argument[n] == '='))
            return argument[n] ? 1 : 2;
    }
    return 0;
}

/* Ranks that were started for different things would wait for each other for ever. */
static moeq_status check_arguments(int argc, char **argv, const struct mq_peers *peers,
                                   moeq_error *err)
{
    static const char *const words[] = {"another version of moeq-mpi", "other arguments"};
    uint32_t crcs[2] = {(uint32_t)crc32_z(0, (const Bytef *)MOEQ_VERSION_STRING,
                                          sizeof MOEQ_VERSION_STRING)};
    for (int i = 1, own; i < argc; i += own ? own : 1) {
        own = own_arguments(argv[i]);
        if (!own)
            crcs[1] = (uint32_t)crc32_z(crcs[1], (const Bytef *)argv[i], strlen(argv[i]) + 1);
    }
    return mq_peers_same(peers, crcs, words, 2, err);
}

int mq_program(int argc, char **argv, const struct mq_peers *peers)
{
    moeq_error err = {0};
    mq_jobs_peers(peers);
    if (check_arguments(argc, argv, peers, &err) != MOEQ_OK) {
        mq_report(&err);
        return MQ_EXIT_USAGE;
    }
    if (argc < 2) { /* what there is; the exit code tells a script that nothing was asked for */
        print_help();
        return mq_finish_output() == MQ_EXIT_GOOD ? MQ_EXIT_USAGE : MQ_EXIT_FAILURE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 ||
        (strcmp(name, "help") == 0 && argc == 2)) {
        print_help();
        return mq_finish_output();
    }
    if (strcmp(name, "--version") == 0) {
        printf("%s %s\n", mq_program_name(), MOEQ_VERSION_STRING);
        return mq_finish_output();
    }
    if (strcmp(name, "completion") == 0)
        return print_completion(argc, argv);
    const bool wants_help = strcmp(name, "help") == 0;
    const struct mq_command *command = find_command(wants_help ? argv[2] : name);
    if (!command)
        return unknown_command(wants_help ? argv[2] : name);
    struct mq_options options = {0};
    if (wants_help) {
        mq_print_command_help(command);
        return mq_finish_output();
    }
    if (!mq_options_parse(command, argc - 2, argv + 2, &options)) {
        mq_options_free(&options);
        return MQ_EXIT_USAGE;
    }
    enum mq_exit code = MQ_EXIT_GOOD;
    verbose = options.verbose;
    if (options.help) {
        mq_print_command_help(command);
        code = mq_finish_output();
    } else if (command->divided || mq_is_speaker()) {
        if (!command->divided)
            mq_jobs_peers(NULL);
        if (!mq_is_speaker())
            mq_options_keep_silent(&options);
        if (mq_jobs_are_with())
            code = mq_options_refuse_streams(command, &options);
        if (code == MQ_EXIT_GOOD)
            code = command->run(&options);
    }
    mq_options_free(&options);
    return code;
}
