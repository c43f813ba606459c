/* cmd_convert.c: moeq convert. */
#include "quantize_file.h"
#include "text_match.h"
#include "what_is_it.h"

#include <strings.h>

/* A GGUF file without a level asked for: its blocks are copied as they are. */
static bool is_gguf(const char *path)
{
    struct mq_what what;
    return mq_what_is_file(path, &what, NULL) == MOEQ_OK && what.kind == MQ_FILE_GGUF;
}

/* Whoever names a GGUF file wants one: what export does. */
static enum mq_exit export_instead(const struct mq_options *options)
{
    if (options->shard_bytes)
        return mq_usage_instead(
            "convert", "--shard-size is about moeq files; for GGUF files of a largest size",
            "moeq export % -o % --split-max-size SIZE",
            (const char *[]){options->positional[0], options->output});
    return mq_cmd_export(options);
}

enum mq_exit mq_cmd_convert(const struct mq_options *options)
{
    const bool budget_given = options->bpw || options->size || options->gpu || options->vram;
    if (options->output && strcasecmp(mq_extension(options->output), ".gguf") == 0)
        return export_instead(options);
    if (!options->level && !options->recipe && !budget_given && !is_gguf(options->positional[0]))
        return mq_usage("convert", "--level is missing, such as --level q4_k");
    if (!options->output && !options->dry_run)
        return mq_usage("convert", "-o FILE is missing (or --dry-run, to see the plan)");
    return mq_quantize_file("convert", options, NULL, NULL, NULL);
}
