/* report_words.c: the verdict in words, and the facts of the run. */
#include "report_words.h"

#include "json.h"
#include "report_verify.h"

#include <math.h>

void mq_report_title(const struct mq_page *report, struct mq_buffer *out)
{
    if (report->is_verification) {
        mq_report_verify_title(report, out);
        return;
    }
    mq_buffer_puts(out, "What quantization costs: ");
    mq_buffer_puts(out, mq_report_string(mq_json_get(report->document, "model"), "path"));
}

/* ": 24.9 GiB, fits GeForce RTX 4090 with a context of 12,288 tokens, at most 140 tokens/s" */
static void say_card(const struct mq_page *report, const struct mq_report_arm *a,
                     struct mq_buffer *out)
{
    const cJSON *card = mq_json_get(a->json, "card");
    const bool fits = cJSON_IsTrue(mq_json_get(card, "fits"));
    const double rate = mq_report_number(card, "tokens_per_second_bound");
    if (isfinite(a->file_bytes))
        mq_buffer_printf(out, ": %s,", mq_words_bytes(a->file_bytes).s);
    mq_buffer_printf(out,
                     fits ? " fits %s with a context of up to %s tokens"
                          : " does not fit %s with a context of %s tokens",
                     mq_report_string(report->card, "name"),
                     fits ? mq_words_count(mq_report_number(card, "max_context_tokens")).s
                          : mq_words_count(mq_report_number(report->card, "context_tokens")).s);
    if (fits && rate > 0)
        mq_buffer_printf(out, ", at most %s tokens/s",
                         (rate >= 100 ? mq_words_count(rate) : mq_words_sig(rate, 2)).s);
}

void mq_report_headline(const struct mq_page *report, struct mq_buffer *out)
{
    const struct mq_report_arm *a = report->recommended;
    if (report->is_verification) {
        mq_report_verify_headline(report, out);
        return;
    }
    if (!a) {
        mq_report_say(report, "No {level} was measured against the original.", out);
        return;
    }
    if (!report->recommended_is_usable) {
        mq_report_say(report,
                      report->card ? "No {level} that fits keeps the output close; "
                                   : "No {level} keeps the output close; ",
                      out);
        mq_report_call(report, a, " (", out);
        mq_buffer_puts(out, " does the least damage");
        if (report->card)
            say_card(report, a, out);
        mq_buffer_puts(out, ".");
        return;
    }
    mq_buffer_puts(out, "Take ");
    mq_report_call(report, a, " (", out);
    if (report->card)
        say_card(report, a, out);
    if (isfinite(a->size_share))
        mq_buffer_printf(out, "%s %s of the memory", report->card ? ";" : ":",
                         mq_words_percent(a->size_share).s);
    mq_buffer_printf(out, ", %s.", mq_report_class_words(a));
}

void mq_report_sentence(const struct mq_report_arm *a, struct mq_buffer *out)
{
    if (isfinite(a->size_share))
        mq_buffer_printf(out, "%s of the size (%s), ", mq_words_percent(a->size_share).s,
                         mq_words_bytes(a->file_bytes).s);
    else if (isfinite(a->file_bytes))
        mq_buffer_printf(out, "%s, ", mq_words_bytes(a->file_bytes).s);
    mq_buffer_puts(out, mq_report_class_words(a));
    /* a good mean divergence beside changed routes is to be read as what it is */
    if (!a->fails_gate && a->quality > mq_quality_of(a->kld.value))
        mq_buffer_printf(out, " by its %s", a->verdict.because);
    if (a->quality == MQ_QUALITY_UNKNOWN) {
        mq_buffer_puts(out, ".");
        return;
    }
    mq_buffer_printf(out, " (KLD %s, %s same top token", mq_words_sig(a->kld.value, 2).s,
                     mq_words_percent(a->same_top.value).s);
    const double change = a->ppl_ratio.value - 1;
    if (change == 0) {
        mq_buffer_puts(out, ", same perplexity");
    } else if (isfinite(change)) {
        const bool noise = isfinite(a->ppl_ratio.se) && fabs(change) < 2 * a->ppl_ratio.se;
        mq_buffer_printf(out, ", perplexity %s%s\u00a0%%%s", change < 0 ? "−" : "+",
                         mq_words_sig(fabs(100 * change), 2).s, noise ? ", within its error" : "");
    }
    mq_buffer_puts(out, ")");
    if (isfinite(a->exact_set.value))
        mq_buffer_printf(out, ", %s of expert choices intact",
                         mq_words_percent(a->exact_set.value).s);
    mq_buffer_puts(out, ".");
    if (a->below_noise)
        mq_buffer_puts(out, " Running the original in bf16 changes its output more.");
}

void mq_report_subtitle(const struct mq_page *report, struct mq_buffer *out)
{
    const cJSON *model = mq_json_get(report->document, "model");
    const cJSON *protocol = mq_json_get(report->document, "protocol");
    const double experts = mq_report_number(model, "experts");
    mq_buffer_printf(out, "%s, %s", mq_report_string(model, "family"),
                     mq_words_counted(mq_report_number(model, "layers"), "layer").s);
    if (experts > 0)
        mq_buffer_printf(out, ", %s experts, %s for each token", mq_words_count(experts).s,
                         mq_words_count(mq_report_number(model, "experts_per_token")).s);
    mq_buffer_printf(out, "; measured on %s of %s",
                     mq_words_counted(mq_report_number(protocol, "scored_tokens"), "prediction").s,
                     mq_report_string(report->document, "text"));
    if (report->is_verification)
        mq_buffer_printf(out, "; against %s", mq_report_against(report));
    if (mq_report_string(report->document, "compute")[0])
        mq_buffer_printf(out, "; in %s", mq_report_string(report->document, "compute"));
}

void mq_report_arithmetic(const struct mq_page *report, struct mq_buffer *out)
{
    const char *compute = mq_report_string(report->document, "compute");
    const cJSON *against = mq_json_get(report->document, "against");
    bool int8 = false;
    for (size_t i = 0; i < report->arms_count; i++)
        int8 = int8 || report->arms[i].int8;
    if (!compute[0])
        return;
    mq_buffer_printf(out, "Arithmetic: %s.", compute);
    if (int8)
        mq_report_say(report, " Rows named int8: the {level} above them, computed in int8.", out);
    if (cJSON_IsFalse(mq_json_get(against, "same_compute")))
        mq_buffer_printf(out,
                         " The recording was made with %s: the figures hold that difference, too.",
                         mq_report_string(against, "compute"));
}

/* ---- facts of the run ---- */

static void fact(struct mq_buffer *out, const cJSON *object, const char *key, const char *name,
                 void (*put)(struct mq_buffer *, const char *, const char *))
{
    const cJSON *item = mq_json_get(object, key);
    if (cJSON_IsString(item) && item->valuestring[0])
        put(out, name, item->valuestring);
    else if (cJSON_IsNumber(item))
        put(out, name, mq_words_count(item->valuedouble).s);
}

static void protocol_facts(const cJSON *p, struct mq_buffer *out,
                           void (*put)(struct mq_buffer *, const char *, const char *))
{
    struct mq_buffer w = {0};
    if (!cJSON_IsObject(p))
        return;
    mq_buffer_printf(
        &w, "%s: %s of %s tokens, %s scored in each", mq_report_string(p, "name"),
        mq_words_counted(mq_report_number(p, "windows"), "window").s,
        mq_words_count(mq_report_number(p, "context_tokens")).s,
        mq_words_counted(mq_report_number(p, "scored_tokens_per_window"), "prediction").s);
    if (isfinite(mq_report_number(p, "first_scored_position")))
        mq_buffer_printf(&w, ", from position %s",
                         mq_words_count(mq_report_number(p, "first_scored_position")).s);
    if (cJSON_IsNumber(mq_json_get(p, "bos_replaces_first_token")))
        mq_buffer_puts(&w, "; BOS replaces the first token of each window");
    if (w.data)
        put(out, "Protocol", w.data);
    mq_buffer_clear(&w);
    mq_buffer_printf(&w, "%s in the text, %s used, %s scored",
                     mq_words_count(mq_report_number(p, "text_tokens")).s,
                     mq_words_count(mq_report_number(p, "used_tokens")).s,
                     mq_words_count(mq_report_number(p, "scored_tokens")).s);
    if (w.data)
        put(out, "Tokens", w.data);
    out->failed = out->failed || w.failed;
    mq_buffer_free(&w);
}

/* What was noted of how the models were read: of the original, then of each model judged. */
static void note_facts(const cJSON *doc, struct mq_buffer *out,
                       void (*put)(struct mq_buffer *out, const char *name, const char *text))
{
    const cJSON *notes = mq_report_array(mq_json_get(doc, "model"), "notes");
    const cJSON *judged = mq_report_array(doc, "model_notes");
    for (const cJSON *n = notes ? notes->child : NULL; n; n = n->next)
        if (cJSON_IsString(n))
            put(out, "Note", n->valuestring);
    for (const cJSON *list = judged ? judged->child : NULL; list; list = list->next)
        for (const cJSON *n = cJSON_IsArray(list) ? list->child : NULL; n; n = n->next)
            if (cJSON_IsString(n))
                put(out, "Note on a file judged", n->valuestring);
}

void mq_report_facts(const struct mq_page *report, struct mq_buffer *out,
                     void (*put)(struct mq_buffer *out, const char *name, const char *text))
{
    const cJSON *doc = report->document, *model = mq_json_get(doc, "model");
    const cJSON *protocol = mq_json_get(doc, "protocol"), *run = mq_json_get(doc, "run");
    if (!report->is_verification)
        fact(out, model, "path", "Model", put);
    mq_report_file_facts(report, out, put);
    if (report->is_verification)
        mq_report_verify_facts(report, out, put);
    fact(out, model, "family", "Family", put);
    fact(out, model, "layers", "Layers", put);
    fact(out, model, "experts", "Experts in a layer", put);
    fact(out, model, "experts_per_token", "Experts for each token", put);
    if (report->baseline && isfinite(report->baseline->file_bytes))
        put(out, "Size of the original", mq_words_bytes(report->baseline->file_bytes).s);
    fact(out, doc, "text", "Text", put);
    protocol_facts(protocol, out, put);
    fact(out, protocol, "token_ids_crc32", "CRC-32 of the token ids", put);
    fact(out, doc, "compute", "Arithmetic", put);
    fact(out, run, "command", "Command", put);
    fact(out, run, "processor", "Processor", put);
    fact(out, run, "instruction_set", "Instruction set", put);
    fact(out, run, "threads", "Threads", put);
    fact(out, run, "system", "System", put);
    fact(out, doc, "producer", "Program", put);
    note_facts(doc, out, put);
}

struct mq_report_part mq_report_part(const struct mq_page *r, const cJSON *part)
{
    const cJSON *a = mq_json_get(r->document, "attribution");
    const double sum = mq_report_number(a, "kld_mean_sum");
    const double whole = sum / mq_report_number(a, "sum_to_whole");
    struct mq_report_part words = {.kld = mq_words_sig(sum, 3),
                                   .share = mq_words_percent(sum / whole)};
    if (!part)
        return words;
    const struct mq_estimate kld = mq_report_estimate(part, "kld_mean");
    words.bits =
        mq_words_sig(8.0 * mq_report_number(part, "bytes") / mq_report_number(part, "weights"), 4);
    words.kld = mq_words_estimate(kld, 3);
    words.share = mq_words_percent(kld.value / whole);
    words.routes = mq_words_percent(mq_report_estimate(part, "exact_set_rate").value);
    return words;
}
