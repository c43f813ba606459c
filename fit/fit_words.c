/* fit_words.c: what was assumed, in sentences. */
#include "fit_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* One sentence for each kind of memory, and one if a size was given. */
static size_t memory_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    const struct mq_fit_target *t = &fit->target;
    size_t n = 0;
    bool given = false;
    for (int m = 0; m < MQ_GPU_MEMORY_COUNT; m++) {
        const struct mq_gpu *gpu = NULL;
        for (uint32_t i = 0; i < t->cards && !gpu; i++)
            if (t->card[i].label_bytes && t->card[i].gpu->memory == (enum mq_gpu_memory)m)
                gpu = t->card[i].gpu;
        if (gpu)
            snprintf(text[n++], MQ_FIT_SENTENCE, "%s (%s)%s", mq_gpu_memory_rule(gpu->memory),
                     gpu->source,
                     gpu->memory == MQ_GPU_APPLE ? "; where that limit was raised, --vram SIZE"
                                                 : "");
    }
    for (uint32_t i = 0; i < t->cards; i++)
        given |= !t->card[i].label_bytes;
    if (given)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "all of the memory given with --vram is usable (of a Mac's memory it is not: "
                 "--gpu \"M2 Max 32GB\" knows how much is)");
    return n;
}

static double mib(uint64_t bytes)
{
    return (double)bytes / 0x1p20;
}

/* Whose memory this is, and what stays free. */
static size_t runtime_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    const struct mq_runtime *r = mq_fit_target_runtime(&fit->target);
    size_t n = 0;
    snprintf(text[n++], MQ_FIT_SENTENCE,
             "memory as %s take%s it (--runtime %s), one sequence at a time", r->who,
             strchr(r->who, ' ') ? "" : "s", r->name);
    if (r->used_percent < 100)
        snprintf(text[n++], MQ_FIT_SENTENCE, "it uses %u %% of a card (%s %.2g)", r->used_percent,
                 r->bit == MQ_RUNS_VLLM ? "--gpu-memory-utilization" : "--mem-fraction-static",
                 r->used_percent / 100.0);
    bool by_plugin = false;
    for (size_t i = 0; i < fit->rows_count; i++)
        by_plugin |= r->bit == MQ_RUNS_VLLM && fit->rows[i].quantized && !fit->rows[i].as_stored &&
                     !mq_runtime_form_of(r, fit->rows[i].name);
    if (fit->unread)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "the model is stored as %s, %s: there is no row of it as "
                 "it is (--runtime "
                 "vllm has one)",
                 fit->unread, r->reads_gguf ? "of which GGUF has no type" : "which mlx-lm does not load as it is");
    if (fit->rows_count && fit->rows[0].as_stored)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "\"%s\" is the model as its makers quantized it%s: nothing larger says more",
                 fit->rows[0].name,
                 fit->view->kind == MQ_VIEW_CONFIG ? ", by config.json's quantization_config" : "");
    if (by_plugin)
        snprintf(
            text[n++], MQ_FIT_SENTENCE,
            "it reads GGUF files by a plugin alone, which its own pages call highly experimental: "
            "without it, take one of the levels that it loads, which are listed without --levels");
    return n;
}

static size_t buffer_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    const struct mq_runtime *r = mq_fit_target_runtime(&fit->target);
    if (r->bit == MQ_RUNS_MLX) {
        snprintf(text[0], MQ_FIT_SENTENCE,
                 "buffers: %.0f MiB for the activations of %u tokens, an estimate, and %u MiB stay "
                 "free",
                 mib(fit->compute_bytes), r->micro_batch, r->margin_mib);
        return 1;
    }
    if (r->bit != MQ_RUNS_LLAMA_CPP) {
        snprintf(
            text[0], MQ_FIT_SENTENCE,
            "buffers: %.0f MiB on each card for the activations of %u tokens and the logits of %u: "
            "an estimate, since it measures them when it starts; graphs that it captures come on "
            "top "
            "(--enforce-eager: none)",
            mib(fit->compute_bytes), r->micro_batch, r->logit_rows);
        return 1;
    }
    struct mq_fit other = *fit;
    const bool flash = !fit->target.no_flash_attention;
    const uint32_t copies = mq_fit_copies(&fit->target);
    char of_inputs[64] = "";
    size_t n = 0;
    other.target.no_flash_attention = flash;
    if (copies > 1)
        snprintf(of_inputs, sizeof of_inputs,
                 ", %u copies of it since several cards are a pipeline", copies);
    snprintf(
        text[n++], MQ_FIT_SENTENCE,
        "buffers: on each card %u MiB stay free for the driver and fragmentation, and %.0f MiB "
        "hold the activations of %u tokens and their attention mask over the context%s",
        r->margin_mib, mib(fit->compute_bytes), r->micro_batch, of_inputs);
    if (fit->compute_few_logits_bytes < fit->compute_bytes)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "those %.0f MiB have the logits of %u tokens; llama-server of June 2026 and later "
                 "reserves those of one: %.0f MiB",
                 mib(fit->compute_bytes), r->logit_rows, mib(fit->compute_few_logits_bytes));
    const double without = mib(mq_fit_buffer_bytes(&other, fit->context, copies, r->logit_rows));
    if (flash)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "attention does not store its scores (FlashAttention); where a runtime does "
                 "(--no-flash-attention), those %.0f MiB are %.0f",
                 mib(fit->compute_bytes), without);
    else
        snprintf(
            text[n++], MQ_FIT_SENTENCE,
            "attention stores its scores (no FlashAttention); with it, those %.0f MiB are %.0f",
            mib(fit->compute_bytes), without);
    return n;
}

/* What is kept of the context, where that is not simply all of it. */
static size_t cache_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    const struct mq_runtime *r = mq_fit_target_runtime(&fit->target);
    const uint32_t window = fit->view->hparams.sliding_window;
    const double whole = (double)(fit->kv_token_bytes * fit->context) / 0x1p30;
    size_t n = 0;
    if (fit->window_token_bytes && fit->buffers.window < fit->context)
        snprintf(
            text[n++], MQ_FIT_SENTENCE,
            "layers with a window keep its tokens and %u more of the KV cache, as %s do for this "
            "architecture: %.2f GiB; all of it%s would be %.2f",
            r->micro_batch, r->who, (double)mq_fit_kv_bytes(fit, fit->context) / 0x1p30,
            r->bit == MQ_RUNS_LLAMA_CPP ? " (--swa-full)" : "", whole);
    else if (window && window < fit->context)
        snprintf(
            text[n++], MQ_FIT_SENTENCE,
            "the KV cache holds the whole context, as %s keep it for this architecture; a runtime "
            "that keeps only the sliding window of %u tokens would need %.2f GiB instead of %.2f",
            r->who, window, (double)(fit->kv_token_bytes * window) / 0x1p30, whole);
    if (fit->state_bytes)
        snprintf(
            text[n++], MQ_FIT_SENTENCE,
            "recurrent layers keep a state instead of a cache: %.1f MiB in f32 for a sequence, "
            "whatever its length",
            mib(fit->state_bytes));
    return n;
}

/* Where everything lies. */
static size_t place_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    const struct mq_fit_target *t = &fit->target;
    const struct mq_runtime *r = mq_fit_target_runtime(t);
    size_t n = 0;
    snprintf(
        text[n++], MQ_FIT_SENTENCE, "%s",
        t->unified                     ? "the embedding table counts too: memory is unified"
        : fit->view->hparams.tied_head ? "the embedding table is on the card: it is the head too"
        : r->table_on_host ? "the embedding table stays on the host: a token reads one row of it"
                           : "the embedding table is on the card too");
    if (t->cards > 1 && r->splits_layers)
        snprintf(
            text[n++], MQ_FIT_SENTENCE,
            "an equal part of every layer on each of the %u cards (tensor parallelism), as much as "
            "the smallest holds",
            t->cards);
    else if (t->cards > 1)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "whole layers, card after card; buffers and margin count on each of the %u cards; "
                 "one stream passes them in turn, at the bandwidth of one card",
                 t->cards);
    return n;
}

static size_t rate_sentences(const struct mq_fit *fit, char (*text)[MQ_FIT_SENTENCE])
{
    const enum mq_view_kind kind = fit->view->kind;
    const bool is_file = kind == MQ_VIEW_MOEQ || kind == MQ_VIEW_GGUF;
    bool offloads = false, rates = false, again = false;
    size_t n = 0;
    for (size_t i = 0; i < fit->rows_count; i++) {
        again |= fit->rows[i].requantized;
        offloads |= mq_fit_row_offload(&fit->rows[i]) != NULL;
        rates |= fit->rows[i].tokens_per_second > 0;
    }
    if (again)
        snprintf(
            text[n++], MQ_FIT_SENTENCE, "%s",
            is_file
                ? "levels are made from the original model: this one is quantized already, so moeq "
                  "export refuses to change them, and moeq convert adds to the error"
                : "levels are made by moeq convert of what the makers quantized already: their "
                  "error is "
                  "added to that");
    if (rates)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "tokens/s: an upper bound for one stream with a full context, bandwidth / (active "
                 "weights + KV cache)");
    if (offloads)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "the host has %.0f GiB%s, of which 7/8 may hold weights: no line is printed for a "
                 "level that needs more, if another needs less",
                 (double)mq_fit_target_host(&fit->target) / 7 * 8 / 0x1p30,
                 fit->target.host_bytes ? "" : " (--ram SIZE)");
    if (rates && offloads)
        snprintf(text[n++], MQ_FIT_SENTENCE,
                 "what is on the host is read at %d GB/s (two channels of DDR5-5600); the card "
                 "then also "
                 "holds a copy of the widest matrix, which prompts are multiplied by",
                 MQ_FIT_HOST_GBS);
    return n;
}

void mq_fit_assumptions(const struct mq_fit *fit, char text[MQ_FIT_ASSUMPTIONS][MQ_FIT_SENTENCE])
{
    size_t (*const parts[])(const struct mq_fit *, char(*)[MQ_FIT_SENTENCE]) = {
        runtime_sentences, memory_sentences, buffer_sentences,
        place_sentences,   cache_sentences,  rate_sentences};
    size_t n = 0;
    memset(text, 0, MQ_FIT_ASSUMPTIONS * sizeof *text);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        n += parts[i](fit, text + n);
}
