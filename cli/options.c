/* options.c: the option table, its parser and the help text made of it. */
#include "command.h"

#include "escape.h"
#include "levels.h"
#include "recipes.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum option_kind {
    FLAG,
    TEXT,
    CHOICE, /* a text that is one of those in `value`, between bars */
    LIST,
    COUNT,
    CONTEXT, /* a count of tokens, as models are sold: 8k is 8192 */
    SIZE
};

struct option {
    const char *name;
    char letter; /* 0: none */
    enum option_kind kind;
    const char *value; /* what --help calls it; NULL for flags */
    const char *help;
    size_t field;
};

#define FIELD(name) offsetof(struct mq_options, name)
static const struct option options_table[] = {
    {"output", 'o', TEXT, "FILE", "the file to write", FIELD(output)},
    {"format", 0, TEXT, "NAME",
     "what to write: gguf (default); or a folder: mlx, for mlx-lm and LM Studio on Apple machines; "
     "for vLLM, SGLang "
     "and Transformers compressed-tensors (levels w4g32 to w8c: weights in integers), fp8-block "
     "(fp8b) and int8 "
     "(w8c: activations in 8 bits too)",
     FIELD(format)},
    {"tp", 0, COUNT, "N",
     "of folders for vLLM and SGLang: the GPUs that matrices will be cut among "
     "(--tensor-parallel-size), which levels "
     "must fit (default 1)",
     FIELD(tp)},
    {"level", 0, TEXT, "LEVEL",
     "level of experts, or of the MLPs of a model without them; or a recipe (lists below). Names "
     "in any "
     "case, and others that people use, such as Q4_K_M, fp16 or 4bit",
     FIELD(level)},
    {"levels", 0, TEXT, "A,B,...",
     "levels (and, but for a budget by a text, recipes) to compare, or to choose among, separated "
     "by "
     "commas",
     FIELD(levels)},
    {"files", 0, LIST, "A,B,...",
     "models in files of their own (moeq, GGUF, folders) to compare beside the levels or instead "
     "of "
     "them, separated by commas; may be repeated",
     FIELD(files)},
    {"recipe", 0, TEXT, "NAME", "the same as --level: a named mix of levels (list below)",
     FIELD(recipe)},
    {"shared", 0, TEXT, "LEVEL",
     "level of what every token uses in a model with experts: shared experts, and MLPs beside or "
     "instead of experts (default q8_0; with a budget: levels that it chooses)",
     FIELD(shared)},
    {"attention", 0, TEXT, "LEVEL",
     "level of attention (default q8_0; with a budget: levels that it chooses)", FIELD(attention)},
    {"embeddings", 0, TEXT, "LEVEL",
     "level of embeddings and head (default q8_0; with a budget: levels that it chooses)",
     FIELD(embeddings)},
    {"tensor", 0, LIST, "'PATTERN=LEVEL'",
     "level of the tensors whose names match a shell pattern; may be repeated, the last match wins",
     FIELD(tensor)},
    {"effort", 0, TEXT, "NAME",
     "scale search: default, or best (slower, a little closer); of convert and export also "
     "calibrated: errors of what a text's tokens give, instead of the weights' (needs --text)",
     FIELD(effort)},
    {"bpw", 0, TEXT, "BITS",
     "instead of a level: for each matrix the one with which all lose least together, in as many "
     "bytes as so many bits per weight of experts and MLPs take beside q8_0 of all else (needs "
     "--text; --levels: among which)",
     FIELD(bpw)},
    {"size", 0, SIZE, "SIZE",
     "the same for files of at most this size; --gpu or --vram: for what a card holds beside the "
     "KV "
     "cache of --context tokens, as fit counts it. Without a text these three choose the largest "
     "level or recipe that fits (--levels: among which)",
     FIELD(size)},
    {"attribute", 0, TEXT, "layer|role|layer,role",
     "of one level: the loss with only a layer, the matrices of one role, or both, quantized, "
     "part by part",
     FIELD(attribute)},
    {"granularity", 0, CHOICE, "expert|matrix",
     "of a budget: each expert's matrices may have levels of their own (what convert does), or a "
     "layer's experts share one for each matrix (export: GGUF has no other)",
     FIELD(granularity)},
    {"unify", 0, TEXT, "up",
     "where the format cannot store what is asked for (experts of one matrix at different levels, "
     "rows "
     "that are no whole blocks), take the next larger level that it can",
     FIELD(unify)},
    {"split-max-size", 0, SIZE, "SIZE",
     "begin a new file, FILE-00001-of-00003.gguf, where a tensor would make one larger than this",
     FIELD(split_bytes)},
    {"shard-size", 0, SIZE, "SIZE",
     "write files of at most this size, FILE-00001-of-00003.moeq, and their index "
     "FILE.moeq.index.json; an expert's matrices stay together. Of export's folders: "
     "model-00001-of-00003.safetensors (default 5 GB)",
     FIELD(shard_bytes)},
    {"ignore-config", 0, LIST, "KEY",
     "go on though config.json, or a GGUF file's metadata, has KEY, which moeq does not know or "
     "does not implement at its value; may be repeated; recorded in the output",
     FIELD(ignore_config)},
    {"sliding-window", 0, CHOICE, "apply|ignore",
     "use the config's sliding_window in any family, or in none (default: as Transformers 5)",
     FIELD(sliding_window)},
    {"lm-head", 0, CHOICE, "stored|tied",
     "where tie_word_embeddings and a stored lm_head.weight disagree: use the stored head, or the "
     "embeddings (default: as Transformers 5, the stored one if it differs)",
     FIELD(lm_head)},
    {"no-check", 0, FLAG, NULL,
     "do not compare what is read of a moeq file with its checksums: read on where it is damaged",
     FIELD(no_check)},
    {"sha256", 0, TEXT, "LIST",
     "fail unless the source's files have the SHA-256 sums of LIST, as sha256sum writes it; the "
     "sums "
     "are recorded in the output",
     FIELD(sha256)},
    {"dry-run", 0, FLAG, NULL, "print the plan with exact sizes; write nothing", FIELD(dry_run)},
    {"force", 0, FLAG, NULL, "replace the output if it exists", FIELD(force)},
    {"allow-nonfinite", 0, FLAG, NULL,
     "copy NaN and infinite weights of tensors that are not quantized, which are counted first "
     "and noted in the output; without it they are an error",
     FIELD(allow_nonfinite)},
    {"allow-loss", 0, FLAG, NULL,
     "go on where a level cannot hold a matrix: its weights are beyond the range of the level's "
     "scales, and what is stored is something else; such are listed at the end",
     FIELD(allow_loss)},
    {"tensors", 0, FLAG, NULL, "list every tensor", FIELD(tensors)},
    {"list-families", 0, FLAG, NULL, "list the families of models that are known",
     FIELD(list_families)},
    {"text", 0, LIST, "FILE",
     "UTF-8 text to use: a file, a pipe, or - for standard input; may be repeated: the texts are "
     "joined as one file would hold them, with nothing between. With a name, NAME=FILE, each is a "
     "text of its own with figures of its own (of the same name: joined; without one among others: "
     "the file's name), and --tokens is of each; so is each where they calibrate",
     FIELD(text)},
    {"tasks", 0, LIST, "FILE",
     "multiple choice beside the text: lines {\"context\": ..., \"choices\": [...], \"answer\": "
     "0}, or a .bin of llama-perplexity --multiple-choice; may be repeated",
     FIELD(tasks)},
    {"calibration", 0, TEXT, "FILE",
     "columns of matrices count by their inputs' mean squares in FILE: a calibration (moeq "
     "calibrate), or an "
     "imatrix of llama.cpp",
     FIELD(calibration)},
    {"holdout", 0, TEXT, "NAME",
     "leave the text NAME out, and say how far its inputs are from the others'", FIELD(holdout)},
    {"merge", 0, FLAG, NULL, "add calibrations of one model up, of different texts", FIELD(merge)},
    {"string", 0, TEXT, "TEXT", "text given on the command line", FIELD(string)},
    {"jsonl", 0, TEXT, "FILE",
     "lines of {\"text\": ..., \"add_special_tokens\": ...} (- for standard input); prints a line "
     "{\"ids\": [...], "
     "\"decoded\": ...} for each",
     FIELD(jsonl)},
    {"ids", 0, TEXT, "FILE",
     "token ids: safetensors with input_ids [n, T]: a file, a pipe, or - for standard input",
     FIELD(ids)},
    {"dump", 0, TEXT, "FILE", "write logits, router logits and chosen experts as safetensors",
     FIELD(dump)},
    {"dump-hidden", 0, FLAG, NULL, "dump the hidden states too", FIELD(dump_hidden)},
    {"protocol", 0, TEXT, "NAME",
     "half: windows of 512, the second half scored (llama.cpp's); full: windows of 2048, all "
     "scored "
     "(the GPTQ papers'); default half",
     FIELD(protocol)},
    {"calibration-text", 0, LIST, "FILE",
     "the text of --effort calibrated, which --text should not contain; may be repeated. The "
     "levels "
     "are made in a folder moeq-sweep-XXXXXX in $TMPDIR, of which nothing is left when the "
     "evaluation begins (a sweep that is killed before leaves it, with one file in the size of a "
     "level)",
     FIELD(calibration_text)},
    {"context", 0, CONTEXT, "N",
     "length in tokens: of evaluation's windows (default: the protocol's), of fit's KV cache "
     "(default: the model's, at most 8192), of what generate reads and gives together (default: "
     "the model's)",
     FIELD(context)},
    {"tokens", 0, COUNT, "N", "use only the first N tokens of the text", FIELD(tokens)},
    {"swap", 0, FLAG, NULL,
     "two more arms for each level or file: its weights with the original's routes, and (not "
     "against a recording) the original's weights with its routes; shows how much of the loss is "
     "coarse weights, how much wrong routes",
     FIELD(swap)},
    {"noise-floor", 0, FLAG, NULL,
     "one more arm: the original with activations rounded to bf16: what a bf16 runtime loses "
     "without quantization",
     FIELD(noise_floor)},
    {"compute", 0, TEXT, "f32|int8",
     "arithmetic. f32 (default): the reference; int8: activations in 8 bits times the codes of "
     "quantized weights, as most runtimes do: two to three times faster. In sweep: one more row "
     "for "
     "each level, beside f32; in verify: of every model that runs",
     FIELD(compute)},
    {"prompt", 0, TEXT, "TEXT", "the text to go on from", FIELD(prompt)},
    {"prompt-file", 0, TEXT, "FILE", "the same from a file, a pipe, or - for standard input",
     FIELD(prompt_file)},
    {"chat", 0, TEXT, "TEXT",
     "a message to answer, put into the model's own chat template, where that is of a known form",
     FIELD(chat)},
    {"chat-file", 0, TEXT, "FILE",
     "a chat to go on with: a list of {\"role\", \"content\"} messages, or one a line; the user "
     "has the "
     "last word",
     FIELD(chat_file)},
    {"system", 0, TEXT, "TEXT", "the system message of a chat", FIELD(system)},
    {"count", 'n', COUNT, "N", "tokens to give at most (default 64)", FIELD(count)},
    {"temperature", 0, TEXT, "T",
     "choose by chance, from probabilities at this temperature (default 0: the most likely token)",
     FIELD(temperature)},
    {"top-k", 0, COUNT, "K", "of chance: among the K most likely tokens alone", FIELD(top_k)},
    {"top-p", 0, TEXT, "P",
     "of chance: among the most likely tokens that have this probability together", FIELD(top_p)},
    {"seed", 0, TEXT, "N",
     "of chance: the same seed gives the same tokens on every machine (default 0)", FIELD(seed)},
    {"echo", 0, FLAG, NULL, "print the prompt too", FIELD(echo)},
    {"ignore-eos", 0, FLAG, NULL, "go on behind tokens that end a text", FIELD(ignore_eos)},
    {"samples", 0, TEXT, "FILE",
     "a prompt a line, or lines of {\"prompt\": TEXT} or {\"chat\": TEXT, \"system\": TEXT}: what "
     "the original and each level and file say after them becomes a section of the report",
     FIELD(samples)},
    {"no-bos", 0, FLAG, NULL, "do not add special tokens", FIELD(no_bos)},
    {"decode", 0, FLAG, NULL, "print the decoded text of each token", FIELD(decode)},
    {"gpu", 0, TEXT, "NAME[,NAME...]",
     "the card, such as 4090, a100-80 or 2x3090; several, such as 3090,3060; a Mac with its "
     "memory: \"M2 Max 32GB\"; auto: this machine's; list: as --list-gpus",
     FIELD(gpu)},
    {"vram", 0, TEXT, "SIZE[,SIZE...]",
     "memory of a card, such as 24GiB, 2x23.5G or 24GiB,12GiB, all of it usable; with --gpu, "
     "instead of what the list says is usable. Where --gpu names a machine of unified memory "
     "without its size (m2-max): that size, of which --list-gpus says how much is usable",
     FIELD(vram)},
    {"ram", 0, TEXT, "SIZE",
     "memory of the host, which part of the weights may stay in (default 64GiB; with --gpu auto "
     "this "
     "machine's)",
     FIELD(ram)},
    {"bandwidth", 0, TEXT, "GBS[,GBS...]",
     "of the memory that --vram gives, in GB/s, for the bound of tokens/s: one figure, or one for "
     "each "
     "card",
     FIELD(bandwidth)},
    {"gpu-context", 0, CONTEXT, "N",
     "tokens of the KV cache on the card (default: those of --context, or else the model's own, at "
     "most 8192)",
     FIELD(gpu_context)},
    {"no-flash-attention", 0, FLAG, NULL,
     "count the buffers of a runtime that stores attention's scores", FIELD(no_flash_attention)},
    {"kv", 0, TEXT, "KIND",
     "kind of the KV cache, as the runtime calls it: f16 (default), bf16, f32, q8_0, q5_1, q5_0, "
     "q4_1, "
     "q4_0, iq4_nl; of vllm and sglang f16, bf16, fp8; of mlx f16, bf16",
     FIELD(kv)},
    {"runtime", 0, TEXT, "NAME",
     "whose memory is counted, and whose levels fit lists: llama.cpp (default; Ollama and LM Studio "
     "are made of it), vllm, sglang, mlx (mlx-lm, on a Mac), or of fit moeq: its own evaluator's, "
     "on the processor",
     FIELD(runtime)},
    {"quality", 0, TEXT, "FILE", "the output of moeq sweep --json for this model", FIELD(quality)},
    {"list-gpus", 0, FLAG, NULL, "list the cards that --gpu knows", FIELD(list_gpus)},
    {"report", 0, LIST, "FILE",
     "write a report: FILE.html, FILE.md, FILE.csv (a row for each level or file) or FILE.svg "
     "(memory "
     "against fidelity); may be repeated",
     FIELD(report)},
    {"charts", 0, TEXT, "FOLDER", "write every chart as an SVG file into FOLDER", FIELD(charts)},
    {"card", 0, TEXT, "FILE.md",
     "write a model card for the Hugging Face Hub, a README.md with metadata, tables and commands, "
     "and its "
     "chart beside it (FILE.svg)",
     FIELD(card)},
    {"base-model", 0, TEXT, "OWNER/NAME",
     "of the card: the original's repository on the Hub (default: the one of the cache it lies in, "
     "or what "
     "its config.json says)",
     FIELD(base_model)},
    {"columns", 0, TEXT, "A,B,...",
     "only these columns in the tables of figures, by the names of --list-metrics: "
     "kld.mean,same_top,exact_set",
     FIELD(columns)},
    {"color", 0, CHOICE, "auto|always|never",
     "colour verdicts and gates (default auto: on a terminal, unless NO_COLOR is set)",
     FIELD(color)},
    {"manifest", 0, TEXT, "FILE",
     "compare the SHA-256 of every file with a list as sha256sum writes it, and nothing else",
     FIELD(manifest)},
    {"write-manifest", 0, TEXT, "FILE",
     "write such a list of the model's files (sha256sum -c checks it too), and nothing else",
     FIELD(write_manifest)},
    {"against", 0, TEXT, "BASE",
     "the original model; of verify also a recording of it (moeq record); of check what the file "
     "was made of",
     FIELD(against)},
    {"gate", 0, TEXT, "GATE.json", "limits to keep; exit code 3 if one is broken", FIELD(gate)},
    {"gate-texts", 0, FLAG, NULL, "in --write-gate, limits for each named text, too",
     FIELD(gate_texts)},
    {"gate-all", 0, FLAG, NULL, "compare every model with --gate, not the last one alone",
     FIELD(gate_all)},
    {"write-gate", 0, TEXT, "GATE.json", "make a gate from what is measured", FIELD(write_gate)},
    {"margin", 0, TEXT, "PERCENT",
     "how much further from perfect --write-gate allows (default 10%)", FIELD(margin)},
    {"junit", 0, TEXT, "FILE", "write the gate's judgement as JUnit XML, for CI systems",
     FIELD(junit)},
    {"list-metrics", 0, FLAG, NULL, "list the figures that are measured and a gate can limit",
     FIELD(list_metrics)},
    {"threads", 0, COUNT, "N", "threads (default: one for each processor)", FIELD(threads)},
    {"memory", 0, SIZE, "SIZE", "memory for buffers, such as 256M or 4G (default: see above)",
     FIELD(memory)},
    {"scratch", 0, TEXT, "FOLDER",
     "where what memory has no room for is kept, in files without a name (default: TMPDIR, or /tmp)",
     FIELD(scratch)},
    {"batch", 0, COUNT, "TOKENS",
     "tokens that go together from rank to rank (default: what an estimate finds good)",
     FIELD(batch)},
    {"pipelines", 0, COUNT, "N",
     "groups of ranks that share the text, each with all layers (default: likewise)",
     FIELD(pipelines)},
    {"json", 0, FLAG, NULL, "print one JSON document on stdout and nothing else", FIELD(json)},
    {"quiet", 'q', FLAG, NULL, "print results only (and notes, on stderr)", FIELD(quiet)},
    {"verbose", 'v', FLAG, NULL, "print more", FIELD(verbose)},
    {"progress", 0, FLAG, NULL,
     "progress in plain lines, also where stderr is no terminal: every ten seconds or tenth",
     FIELD(progress)},
    {"no-progress", 0, FLAG, NULL, "no progress bar", FIELD(no_progress)},
    {"help", 'h', FLAG, NULL, "this text", FIELD(help)},
};
enum { OPTIONS_COUNT = sizeof options_table / sizeof *options_table };

static bool has_word(const char *words, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = words; (p = strstr(p, word)); p += n)
        if ((p == words || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\0'))
            return true;
    return false;
}

/* What any command takes, for scripts that give the same to all: each is kept by a command that has
 * no use for it, since it bounds what is used or asks for what is printed besides. Its help shows
 * those that do something there. */
#define ALWAYS "threads memory progress no-progress verbose"

/* What is about several processes. */
#define OF_RANKS "batch pipelines"

static bool shows(const struct mq_command *command, const struct option *o)
{
    return (has_word(command->options, o->name) || has_word(command->common, o->name)) &&
           (mq_program_has_ranks() || !has_word(OF_RANKS, o->name));
}

static bool takes(const struct mq_command *command, const struct option *o)
{
    return shows(command, o) || has_word(ALWAYS, o->name);
}

/* ---- parsing ---- */

/* Whether a text is one of "these|and|those". */
static bool is_choice(const char *choices, const char *text)
{
    const size_t n = strlen(text);
    while (*choices) {
        const size_t length = strcspn(choices, "|");
        if (n == length && memcmp(choices, text, n) == 0)
            return true;
        choices += length + (choices[length] == '|');
    }
    return false;
}

static void append_value(struct mq_option_list *list, const char *value)
{
    list->values = mq_option_memory(realloc(list->values, (list->count + 2) * sizeof *list->values));
    list->values[list->count++] = value;
    list->values[list->count] = NULL;
}

/* Of what is one thing, two are asked for; or a file that would be called "-". */
static bool check_text(const struct mq_command *command, const struct option *o, const char *before,
                       const char *value)
{
    if (before && strcmp(before, value) != 0) {
        mq_usage(command->name, "--%s is given twice: '%s' and '%s'", o->name, before, value);
        return false;
    }
    if (o->letter == 'o' && strcmp(value, "-") == 0) {
        mq_usage(command->name,
                 "-o -: what is written is no stream; name a file (./- for one of that name)");
        return false;
    }
    return true;
}

static bool set_option(const struct mq_command *command, const struct option *o, const char *value,
                       struct mq_options *options)
{
    void *field = (char *)options + o->field;
    if ((o->kind == TEXT || o->kind == CHOICE) &&
        !check_text(command, o, *(const char **)field, value))
        return false;
    switch (o->kind) {
    case FLAG:
        *(bool *)field = true;
        return true;
    case TEXT:
        *(const char **)field = value;
        return true;
    case CHOICE:
        *(const char **)field = value;
        if (is_choice(o->value, value))
            return true;
        mq_usage(command->name, "--%s '%s': expected %s", o->name, value, o->value);
        return false;
    case LIST:
        append_value(field, value);
        return true;
    case COUNT:
    case CONTEXT:
    case SIZE:
        if (mq_parse_number(value, o->kind != COUNT, field) && *(uint64_t *)field > 0)
            return true;
        mq_usage(command->name, "--%s '%s': expected %s", o->name, value,
                 o->kind == SIZE      ? "a size such as 256M or 4G"
                 : o->kind == CONTEXT ? "a whole number above 0, such as 8192 or 8k"
                                      : "a whole number above 0");
        return false;
    }
    return false;
}

static const struct option *find_option(const struct mq_command *command, const char *name,
                                        size_t n)
{
    for (int i = 0; i < OPTIONS_COUNT; i++)
        if (takes(command, &options_table[i]) && strlen(options_table[i].name) == n &&
            memcmp(options_table[i].name, name, n) == 0)
            return &options_table[i];
    return NULL;
}

static bool unknown_option(const struct mq_command *command, const char *argument)
{
    const char *names[OPTIONS_COUNT];
    size_t n = 0;
    for (int i = 0; i < OPTIONS_COUNT; i++)
        if (takes(command, &options_table[i]))
            names[n++] = options_table[i].name;
    const char *name = argument + (argument[1] == '-' ? 2 : 1); /* -force: one dash too few */
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, "="), name);
    const char *near = word[0] && word[1] ? mq_nearest(word, names, n) : NULL;
    if (near)
        mq_usage(command->name, "unknown option '%s'; did you mean --%s?", argument, near);
    else
        mq_usage(command->name, "unknown option '%s'", argument);
    return false;
}

/* One argument that begins with '-'; takes its value from argv where it has one. */
static bool parse_option(const struct mq_command *command, int argc, char **argv, int *i,
                         struct mq_options *options)
{
    const char *argument = argv[*i], *value = NULL;
    const struct option *o = NULL;
    if (argument[1] == '-') {
        const size_t n = strcspn(argument + 2, "=");
        o = find_option(command, argument + 2, n);
        if (argument[2 + n] == '=')
            value = argument + 2 + n + 1;
    } else {
        for (int k = 0; k < OPTIONS_COUNT; k++)
            if (options_table[k].letter == argument[1] && takes(command, &options_table[k]))
                o = &options_table[k];
        if (o && argument[2] != '\0') { /* -oFILE */
            value = argument + 2;
            if (o->kind == FLAG)
                return unknown_option(command, argument);
        }
    }
    if (!o)
        return unknown_option(command, argument);
    if (o->kind == FLAG && value) {
        mq_usage(command->name, "--%s takes no value", o->name);
        return false;
    }
    if (o->kind != FLAG && !value) {
        /* "-o --level q4_k" forgot the file; a value that begins so is written --output=--x */
        if (*i + 1 >= argc || strncmp(argv[*i + 1], "--", 2) == 0) {
            mq_usage(command->name, "--%s needs a value: %s", o->name, o->value);
            return false;
        }
        value = argv[++*i];
    }
    return set_option(command, o, value, options);
}

bool mq_options_parse(const struct mq_command *command, int argc, char **argv,
                      struct mq_options *options)
{
    memset(options, 0, sizeof *options);
    bool only_positional = false;
    options->positional = mq_option_memory(calloc((size_t)argc + 1, sizeof *options->positional));
    if (!options->positional)
        return false;
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        if (!only_positional && strcmp(a, "--") == 0) {
            only_positional = true;
        } else if (!only_positional && a[0] == '-' && a[1]) {
            if (!parse_option(command, argc, argv, &i, options))
                return false;
        } else if (options->positional_count == command->positional_max) {
            mq_usage(command->name, "unexpected argument '%s'", a);
            return false;
        } else {
            options->positional[options->positional_count++] = a;
        }
    }
    if (options->help || options->positional_count >= command->positional_min)
        return true;
    mq_usage(command->name, "expected: %s %s %s", mq_program_name(), command->name,
             command->arguments);
    return false;
}

void mq_options_keep_silent(struct mq_options *o)
{
    o->report.count = 0;
    o->card = o->charts = o->base_model = o->junit = o->write_gate = o->margin = o->samples = NULL;
    o->gate_texts = false;
    o->no_progress = false; /* rank 0 is told how far this one is */
}

/* "-", or what is read once only: a pipe. */
static bool is_stream(const char *path)
{
    struct stat st;
    return path && (strcmp(path, "-") == 0 || (stat(path, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))));
}

enum mq_exit mq_options_refuse_streams(const struct mq_command *command, const struct mq_options *o)
{
    const struct {
        const char *name;
        const struct mq_option_list *list;
    } lists[] = {{"text", &o->text}, {"calibration-text", &o->calibration_text}, {"tasks", &o->tasks}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (size_t k = 0; k < lists[i].list->count; k++) {
            const char *value = lists[i].list->values[k], *path = strchr(value, '=');
            if (is_stream(value) || (path && is_stream(path + 1)))
                return mq_usage(command->name, "--%s %s: every rank reads it, so it must be a file",
                                lists[i].name, value);
        }
    if (is_stream(o->ids))
        return mq_usage(command->name, "--ids %s: every rank reads it, so it must be a file", o->ids);
    return MQ_EXIT_GOOD;
}

void mq_options_free(struct mq_options *options)
{
    free(options->positional);
    free(options->files.values);
    free(options->tensor.values);
    free(options->report.values);
    free(options->text.values);
    free(options->calibration_text.values);
    free(options->tasks.values);
    free(options->ignore_config.values);
    memset(options, 0, sizeof *options);
}

/* ---- help ---- */

static void print_option(const struct option *o)
{
    enum { COLUMN = 27 };
    const int n =
        printf("  %c%c%s--%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ',
               o->letter ? ", " : "  ", o->name, o->value ? " " : "", o->value ? o->value : "");
    if (n >= COLUMN)
        printf("\n%*s", COLUMN, "");
    else
        printf("%*s", COLUMN - n, "");
    mq_print_wrapped(o->help, COLUMN, COLUMN);
}

bool mq_option_at(const struct mq_command *command, size_t i, struct mq_option_words *words)
{
    if (i >= OPTIONS_COUNT || (command && !shows(command, &options_table[i])))
        return false;
    const struct option *o = &options_table[i];
    *words = (struct mq_option_words){o->name, o->value, o->help, o->letter, o->kind == LIST};
    return true;
}

static double bits_of(const struct mq_level *l)
{
    return 8.0 * l->block_bytes / l->block_weights;
}

/* Levels of one family, the first of which is given, with what they have in common; how many. */
static size_t print_family(const struct mq_level *first)
{
    char names[600] = "";
    size_t count = 0, n = 0;
    for (const struct mq_level *l = first;
         l < mq_levels + mq_levels_count && l->family && strcmp(l->family, first->family) == 0 &&
         n < sizeof names;
         l++, count++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s%s%s (%.4g)", count ? ", " : "", l->name,
                              l->alias ? "/" : "", l->alias ? l->alias : "", bits_of(l));
    printf("  ");
    mq_print_wrapped(names, 2, 4);
    printf("%29s", "");
    mq_print_wrapped(first->family, 29, 29);
    return count;
}

/* Those that can be asked for. */
static void print_levels(void)
{
    for (size_t i = 0, count; i < mq_levels_count; i += count) {
        const struct mq_level *l = &mq_levels[i];
        char name[32];
        count = 1;
        if (!mq_level_can_encode(l))
            continue;
        if (l->family) {
            count = print_family(l);
            continue;
        }
        snprintf(name, sizeof name, "%s%s%s", l->name, l->alias ? ", " : "",
                 l->alias ? l->alias : "");
        printf("  %-12s %7.4f bits  ", name, bits_of(l));
        mq_print_wrapped(l->description, 29, 29);
    }
}

static void print_read_only_levels(void)
{
    char list[300] = "";
    size_t n = 0;
    for (size_t i = 0; i < mq_levels_count; i++)
        if (!mq_level_can_encode(&mq_levels[i]) && n < sizeof list)
            n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", n ? ", " : "",
                                  mq_levels[i].name);
    printf("\nlevels that files may have, but none is written at:\n  ");
    mq_print_wrapped(list, 2, 2);
}

void mq_print_command_help(const struct mq_command *command)
{
    printf("usage: %s %s %s\n\n%s\n", mq_program_name(), command->name, command->arguments, command->description);
    if (command->examples)
        printf("\nexamples:\n%s\n", command->examples);
    printf("\noptions:\n");
    for (int common = 0; common < 2; common++)
        for (int i = 0; i < OPTIONS_COUNT; i++)
            if (shows(command, &options_table[i]) &&
                has_word(common ? command->common : command->options, options_table[i].name))
                print_option(&options_table[i]);
    if (has_word(command->options, "level") || has_word(command->options, "levels")) {
        printf("\nlevels:\n");
        print_levels();
        if (has_word(command->options, "output")) /* what its input may be of */
            print_read_only_levels();
    }
    if (has_word(command->options, "recipe") || has_word(command->options, "levels")) {
        printf("\nrecipes%s:\n", has_word(command->options, "levels") ? ", as levels" : "");
        for (size_t i = 0; i < mq_recipes_count; i++) {
            const struct mq_recipe *r = &mq_recipes[i];
            printf("  %-12s  ", r->name);
            mq_print_wrapped(r->description, 16, 16);
        }
    }
    printf("\nexit codes: 0 good, 1 failure, 2 usage%s\n",
           has_word(command->options, "gate") ? ", 3 a limit of --gate is broken" : "");
}

void *mq_option_memory(void *memory)
{
    if (memory)
        return memory;
    fprintf(stderr, "%s: out of memory while reading the options\n", mq_program_name());
    exit(MQ_EXIT_FAILURE);
}

enum mq_exit mq_usage(const char *command, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *program = mq_program_name(), *space = command ? " " : "";
    FILE *errors = mq_errors();
    fprintf(errors, "%s%s%s: ", program, space, command ? command : "");
    vfprintf(errors, format, args);
    va_end(args);
    fprintf(errors, "\n%s%s%s --help explains.\n", program, space, command ? command : "");
    return MQ_EXIT_USAGE;
}

enum mq_exit mq_usage_instead(const char *command, const char *what, const char *form,
                              const char *const *words)
{
    struct mq_buffer instead = {0};
    mq_shell_command(&instead, form, words);
    const bool made = instead.data && mq_buffer_ok(&instead);
    mq_usage(command, "%s: %s", what, made ? instead.data : "out of memory");
    mq_buffer_free(&instead);
    return MQ_EXIT_USAGE;
}
