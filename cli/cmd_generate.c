/* cmd_generate.c: moeq generate: what a model says after a prompt; and beside another one. */
#include "eval_options.h"
#include "model_options.h"
#include "terminal_text.h"

#include "chat_file.h"
#include "error.h"
#include "generation_json.h"
#include "json.h"
#include "prompt.h"
#include "text_input.h"
#include "view_json.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    DEFAULT_TOKENS = 64,
    PROMPT_CAP_BYTES = 64 << 20,
    KEPT_LOGITS_BYTES =
        256 << 20 /* where two part, of the first tokens: 500 of a vocabulary of 128k */
};

/* A model at work. */
struct speaker {
    const char *path;
    struct mq_view *view;
    struct mq_tokenizer *tokenizer; /* its own, or the base's */
    struct mq_ids ends;
    struct mq_generation generation;
    struct mq_text_stream stream;
    struct mq_buffer text; /* of the continuation */
    size_t printed;        /* of it */
    bool prints, terminal;
    struct mq_job_ui *ui;
};

struct request {
    const struct mq_options *options;
    struct mq_prompt prompt;
    struct mq_buffer prompt_file;
    struct mq_arena *chat_file; /* of what the prompt points to; NULL: there is none */
    struct mq_ids ids;
    const char *end_token;
    struct mq_generation_options how;
    enum mq_compute compute;
    char date[16];
};

/* ---- options ---- */

/* A plain decimal number within [least, most]. */
static bool parse_real(const char *option, const char *text, double least, double most,
                       double *value)
{
    char *end;
    if (!text)
        return true;
    *value = strtod(text, &end);
    if (end != text && !*end && *value >= least && *value <= most)
        return true;
    mq_usage("generate", "--%s '%s': expected a number from %g to %g", option, text, least, most);
    return false;
}

static bool parse_seed(const char *text, uint64_t *seed)
{
    char *end;
    if (!text)
        return true;
    errno = 0;
    *seed = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && !*end && errno == 0)
        return true;
    mq_usage("generate", "--seed '%s': expected a whole number below 2^64", text);
    return false;
}

static bool parse_sampling(const struct mq_options *o, struct mq_sampling *s)
{
    if (!parse_real("temperature", o->temperature, 0, 100, &s->temperature) ||
        !parse_real("top-p", o->top_p, 0, 1, &s->top_p) || !parse_seed(o->seed, &s->seed))
        return false;
    if (o->top_p && s->top_p == 0) {
        mq_usage("generate", "--top-p '%s': expected a number above 0, at most 1", o->top_p);
        return false;
    }
    s->top_k = o->top_k > INT32_MAX ? INT32_MAX : (uint32_t)o->top_k;
    if (s->temperature > 0 || (!o->top_k && !o->top_p && !o->seed))
        return true;
    mq_usage("generate", "--top-k, --top-p and --seed go with --temperature T above 0: without it "
                         "the most likely token is taken each time");
    return false;
}

/* What stands on the command line is text. */
static bool check_utf8(const struct mq_options *o)
{
    const struct {
        const char *name, *text;
    } given[] = {{"prompt", o->prompt}, {"chat", o->chat}, {"system", o->system}};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++) {
        size_t bad;
        if (!given[i].text || mq_utf8_valid(given[i].text, strlen(given[i].text), &bad))
            continue;
        mq_usage("generate", "--%s is not UTF-8 at byte %zu", given[i].name, bad);
        return false;
    }
    return true;
}

static bool parse_prompt(struct request *r)
{
    const struct mq_options *o = r->options;
    const int given = !!o->prompt + !!o->prompt_file + !!o->chat + !!o->chat_file;
    if (given != 1) {
        mq_usage("generate", "expected one of --prompt TEXT, --prompt-file FILE, --chat TEXT and "
                             "--chat-file FILE");
        return false;
    }
    if (o->system && !o->chat) {
        mq_usage("generate", o->chat_file ? "--system goes with --chat: in --chat-file it is a "
                                            "message, {\"role\": \"system\", \"content\": TEXT}"
                                          : "--system goes with --chat");
        return false;
    }
    if (!check_utf8(o))
        return false;
    const char *text = o->chat ? o->chat : o->prompt;
    const time_t t = time(NULL);
    struct tm tm = {0};
    strftime(r->date, sizeof r->date, "%Y-%m-%d", localtime_r(&t, &tm));
    r->prompt = (struct mq_prompt){.chat = o->chat || o->chat_file,
                                   .text = text,
                                   .size = text ? strlen(text) : 0,
                                   .system = o->system,
                                   .system_size = o->system ? strlen(o->system) : 0,
                                   .date = r->date};
    r->how.most = o->count ? o->count : DEFAULT_TOKENS;
    r->how.context = o->context;
    return parse_sampling(o, &r->how.sampling) && mq_option_compute("generate", o, &r->compute);
}

/* ---- one model ---- */

/* A model without a tokenizer of its own speaks by the base's. */
static moeq_status open_speaker(struct request *r, struct speaker *s, const struct speaker *base,
                                moeq_error *err)
{
    MQ_TRY(mq_open_model(r->options, s->path, &s->view, err));
    const bool own = s->view->side[MQ_SIDE_TOKENIZER].size > 0 || !base;
    if (own)
        MQ_TRY(mq_prompt_tokenizer(s->view, &s->tokenizer, err));
    struct mq_ids ids = {0};
    const struct mq_tokenizer *tokenizer = own ? s->tokenizer : base->tokenizer;
    const struct mq_view *view = own ? s->view : base->view;
    moeq_status status = mq_prompt_ids(view, tokenizer, &r->prompt, &ids, &r->end_token, err);
    const bool differs = status == MOEQ_OK && base &&
                         (ids.size != r->ids.size ||
                          memcmp(ids.data, r->ids.data, ids.size * sizeof *ids.data) != 0);
    if (differs)
        status = mq_fail(err, MOEQ_INVALID_ARGUMENT,
                         "%s cuts the prompt into other tokens than %s (%zu and %zu): their "
                         "continuations cannot be compared",
                         s->path, base->path, ids.size, r->ids.size);
    if (base)
        mq_ids_free(&ids);
    else
        r->ids = ids;
    return status == MOEQ_OK && !r->options->ignore_eos
               ? mq_end_tokens(s->view, tokenizer, r->end_token, &s->ends, err)
               : status;
}

static void close_speaker(struct speaker *s)
{
    mq_generation_free(&s->generation);
    mq_text_stream_end(&s->stream);
    mq_buffer_free(&s->text);
    mq_ids_free(&s->ends);
    mq_tokenizer_free(s->tokenizer);
    mq_view_close(s->view);
}

static void print_new(struct speaker *s)
{
    if (s->prints && s->text.size > s->printed) {
        mq_print_terminal_text(stdout, s->text.data + s->printed, s->text.size - s->printed,
                               s->terminal);
        fflush(stdout);
    }
    s->printed = s->text.size;
}

static moeq_status on_token(void *user, int32_t id, double logprob, moeq_error *err)
{
    struct speaker *s = user;
    (void)logprob;
    if (s->ui->progress)
        mq_job_end(s->ui); /* the prompt's progress line */
    s->ui->context.progress = NULL;
    MQ_TRY(mq_text_stream_push(&s->stream, id, &s->text, err));
    print_new(s);
    return MOEQ_OK;
}

static moeq_status speak(struct request *r, struct mq_job_ui *ui, struct speaker *s,
                         const struct mq_tokenizer *tokenizer, moeq_error *err)
{
    const struct mq_arm arm = {
        .name = "model", .view = s->view, .routes_from = -1, .compute = r->compute};
    struct mq_generation_options how = r->how;
    s->prints = !r->options->json;
    s->terminal = isatty(STDOUT_FILENO);
    s->ui = ui;
    how.ends = &s->ends;
    how.on_token = on_token;
    how.user = s;
    how.keep_bytes = r->options->against ? KEPT_LOGITS_BYTES : 0;
    MQ_TRY(mq_text_stream_begin(tokenizer, r->ids.data, r->ids.size, &s->stream, err));
    if (s->prints && r->options->echo)
        mq_print_terminal_text(stdout, r->prompt.text, r->prompt.size, s->terminal);
    MQ_TRY(mq_generate(&ui->context, &arm, &r->ids, &how, &s->generation, err));
    MQ_TRY(mq_text_stream_flush(&s->stream, &s->text, err));
    print_new(s);
    if (s->prints)
        putchar('\n');
    mq_buffer_putc(&s->text, '\0');
    return s->text.failed ? mq_fail_memory(err, "keeping text") : MOEQ_OK;
}

/* ---- results ---- */

static double rate(size_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

/* The first token comes with the prompt. */
static void print_numbers(const struct request *r, const struct speaker *s)
{
    const struct mq_generation *g = &s->generation;
    const size_t steps = g->count > 0 ? g->count - (g->end_id < 0) : 0;
    char cache[32], other[32], weights[32], prompt[64], said[64];
    if (r->options->quiet)
        return;
    fflush(stdout);
    mq_say(2, "moeq: prompt %s, %.1f tokens/s; continuation %s, %.1f tokens/s; ended by %s",
           mq_counted(g->prompt_tokens, "token", prompt), rate(g->prompt_tokens, g->prompt_seconds),
           mq_counted(g->count, "token", said), rate(steps, g->seconds),
           mq_generation_end_name(g->end));
    mq_say(2, "moeq: memory: %s for what is kept of up to %s, %s of buffers, %s of weights",
           mq_format_bytes(g->cache_bytes, cache), mq_counted(g->context, "token", prompt),
           mq_format_bytes(g->other_bytes, other), mq_format_bytes(g->weights_bytes, weights));
}

static void print_choice(const struct speaker *in, const char *who, int32_t id, double own,
                         const char *other_name, double other)
{
    struct mq_buffer text = {0};
    mq_tokenizer_decode(in->stream.tokenizer, &id, 1, false, &text, NULL);
    printf("  %-5s '", who);
    mq_print_terminal_text(stdout, text.data ? text.data : "", text.size, true);
    printf("' (id %d): probability %.4f, in %s %.4f\n", id, own, other_name, other);
    mq_buffer_free(&text);
}

static void print_parting(const struct speaker *base, const struct mq_parting *p, size_t most)
{
    if (!p->parts) {
        char tokens[64];
        putchar('\n');
        mq_print_sentence(2, "both say the same, as far as both go: %s",
                          mq_counted(p->at, "token", tokens));
        return;
    }
    printf("\nthey part at token %zu of %zu:\n", p->at + 1, most);
    print_choice(base, "base", p->base_id, p->base_of_base, "model", p->other_of_base);
    print_choice(base, "model", p->id, p->other_of_other, "base", p->base_of_other);
}

static cJSON *speaker_json(struct mq_json_tree *b, const struct speaker *s)
{
    cJSON *o = mq_generation_json(b, &s->generation, s->text.data), *model = mq_json_object(b);
    mq_json_put_number(b, o, "prompt_seconds", s->generation.prompt_seconds);
    mq_json_put_number(b, o, "seconds", s->generation.seconds);
    mq_json_put_count(b, o, "cache_bytes", s->generation.cache_bytes);
    mq_json_put_count(b, o, "weights_bytes", s->generation.weights_bytes);
    mq_view_put_json(b, model, s->view);
    mq_json_put(b, o, "model", model);
    return o;
}

static enum mq_exit print_result_json(const struct request *r, const struct speaker *base,
                                      const struct speaker *model, const struct mq_parting *parting)
{
    struct mq_json_tree b = {0};
    cJSON *o = mq_json_document(&b, "generate"), *ids = mq_json_array(&b);
    const struct mq_sampling *s = &r->how.sampling;
    for (size_t i = 0; i < r->ids.size; i++)
        mq_json_append(&b, ids, cJSON_CreateNumber(r->ids.data[i]));
    mq_json_put_text(&b, o, "compute", mq_compute_name(r->compute));
    mq_json_put_number(&b, o, "temperature", s->temperature);
    if (s->temperature > 0) {
        mq_json_put_count(&b, o, "top_k", s->top_k);
        mq_json_put_number(&b, o, "top_p", s->top_p);
        mq_json_put_count(&b, o, "seed", s->seed);
    }
    mq_json_put(&b, o, "prompt_ids", ids);
    mq_json_put(&b, o, "continuation", speaker_json(&b, model));
    if (base) {
        mq_json_put(&b, o, "base", speaker_json(&b, base));
        mq_json_put(&b, o, "parting", mq_parting_json(&b, base->stream.tokenizer, parting));
    }
    return mq_print_json(mq_json_finish(&b, o));
}

static enum mq_exit finish(const struct request *r, struct mq_job_ui *ui,
                           const struct speaker *base, const struct speaker *model)
{
    struct mq_parting parting = {0};
    enum mq_exit code;
    if (base)
        parting = mq_generation_compare(ui->context.isa, &base->generation, &model->generation);
    if (r->options->json) {
        code = print_result_json(r, base, model, &parting);
    } else {
        if (base)
            print_parting(base, &parting, r->how.most);
        code = mq_finish_output();
    }
    const bool interrupted = model->generation.end == MQ_GENERATION_INTERRUPTED ||
                             (base && base->generation.end == MQ_GENERATION_INTERRUPTED);
    return interrupted && code == MQ_EXIT_GOOD ? MQ_EXIT_INTERRUPTED : code;
}

static moeq_status run_speaker(struct request *r, struct mq_job_ui *ui, struct speaker *s,
                               const struct speaker *base, const char *title, moeq_error *err)
{
    const bool tells = !r->options->json;
    MQ_TRY(open_speaker(r, s, base, err));
    for (size_t i = 0; tells && i < s->view->notes_count && !r->options->quiet; i++)
        fprintf(stderr, "%s: note: %s\n", mq_program_name(), s->view->notes[i]);
    if (tells && title)
        printf("%s%s %s\n", base ? "\n" : "", title, s->path);
    MQ_TRY(speak(r, ui, s, s->tokenizer ? s->tokenizer : base->tokenizer, err));
    if (tells)
        print_numbers(r, s);
    return MOEQ_OK;
}

static moeq_status read_chat(struct request *r, moeq_error *err)
{
    struct mq_chat_turn turn = {0};
    r->chat_file = mq_arena_create();
    if (!r->chat_file)
        return mq_fail_memory(err, "reading a chat");
    MQ_TRY(mq_chat_file_read(r->options->chat_file, r->chat_file, &turn, err));
    r->prompt = (struct mq_prompt){.chat = true,
                                   .text = turn.user,
                                   .size = turn.user_size,
                                   .earlier = turn.earlier,
                                   .earlier_count = turn.earlier_count,
                                   .system = turn.system,
                                   .system_size = turn.system_size,
                                   .date = r->date};
    return MOEQ_OK;
}

/* What stands in a file. */
static moeq_status read_prompt(struct request *r, moeq_error *err)
{
    const struct mq_options *o = r->options;
    size_t bad;
    if (o->chat_file)
        return read_chat(r, err);
    if (!o->prompt_file)
        return MOEQ_OK;
    MQ_TRY(mq_input_read(o->prompt_file, PROMPT_CAP_BYTES, &r->prompt_file, err));
    if (!mq_utf8_valid(r->prompt_file.data, r->prompt_file.size, &bad))
        return mq_fail_file(err, MOEQ_MALFORMED, o->prompt_file, "is not UTF-8 at byte %zu", bad);
    r->prompt.text = r->prompt_file.data ? r->prompt_file.data : "";
    r->prompt.size = r->prompt_file.size;
    return MOEQ_OK;
}

static moeq_status run(struct request *r, struct mq_job_ui *ui, struct speaker *base,
                       struct speaker *model, moeq_error *err)
{
    MQ_TRY(read_prompt(r, err));
    if (base)
        MQ_TRY(run_speaker(r, ui, base, NULL, "base", err));
    if (base && base->generation.end == MQ_GENERATION_INTERRUPTED)
        return mq_fail(err, MOEQ_CANCELLED, "interrupted");
    return run_speaker(r, ui, model, base, base ? "model" : NULL, err);
}

enum mq_exit mq_cmd_generate(const struct mq_options *options)
{
    struct request r = {.options = options};
    struct speaker base = {.path = options->against}, model = {.path = options->positional[0]};
    struct mq_job_ui ui;
    moeq_error err = {0};
    if (!parse_prompt(&r) || !mq_job_begin(options, &ui))
        return MQ_EXIT_USAGE;
    struct speaker *other = options->against ? &base : NULL;
    const moeq_status status = run(&r, &ui, other, &model, &err);
    mq_job_end(&ui);
    if (status != MOEQ_OK && base.printed + model.printed > 0)
        fflush(stdout);
    const enum mq_exit code = status == MOEQ_OK ? finish(&r, &ui, other, &model) : mq_report(&err);
    close_speaker(&base);
    close_speaker(&model);
    mq_ids_free(&r.ids);
    mq_buffer_free(&r.prompt_file);
    mq_arena_destroy(r.chat_file);
    return code;
}
