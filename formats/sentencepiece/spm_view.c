/* spm_view.c: the tokenizer of a Hugging Face folder that has no tokenizer.json. */
#include "sentencepiece.h"

#include "error.h"
#include "folder_tokenizer.h"
#include "model_view.h"
#include "open_options.h"

/* A model of another vocabulary, or one that is cut short. */
static moeq_status compare_sizes(struct mq_view *view, uint32_t pieces, moeq_error *err)
{
    if (!view->family || pieces <= view->hparams.vocab) /* no family: the tokenizer alone is read */
        return MOEQ_OK;
    return mq_view_note(view, err,
                        "%s has %u pieces, and the model embeddings for %u: is it the tokenizer of "
                        "this model?",
                        view->tokenizer_source, pieces, view->hparams.vocab);
}

static moeq_status note_bos(struct mq_view *view, moeq_error *err)
{
    return mq_view_note(view, err,
                        "a text begins with BOS, as in Transformers 4 and llama.cpp, since no "
                        "tokenizer_config.json says add_bos_token; Transformers 5 puts none in "
                        "front of it");
}

static moeq_status remember(const char *folder, const char *name, struct mq_view *view,
                            moeq_error *err)
{
    const char *path = mq_arena_printf(view->arena, "%s/%s", folder, name);
    return path ? mq_view_remember(view, path, err) : mq_fail_memory(err, "opening a model");
}

moeq_status mq_spm_read_folder(const char *folder, struct mq_view *view, moeq_error *err)
{
    moeq_error problem = {0};
    struct mq_spm_made made = {0};
    const char *name = view->side[MQ_SIDE_TOKENIZER].size ? NULL : mq_spm_find(folder);
    if (!name)
        return MOEQ_OK;
    MQ_TRY(remember(folder, name, view, err));
    const moeq_status status =
        mq_spm_folder_to_json(folder, name, &view->side[MQ_SIDE_TOKENIZER_CONFIG],
                              &view->side[MQ_SIDE_TOKENIZER], &made, &problem);
    if (status == MOEQ_OK) {
        view->tokenizer_source = name;
        MQ_TRY(compare_sizes(view, made.pieces, err));
        return made.assumed_bos ? note_bos(view, err) : MOEQ_OK;
    }
    mq_buffer_free(&view->side[MQ_SIDE_TOKENIZER]);
    if (status == MOEQ_NO_MEMORY)
        return mq_fail_memory(err, "reading a SentencePiece model");
    view->tokenizer_problem =
        mq_arena_printf(view->arena, "it has no tokenizer.json, and %s", problem.message);
    if (!view->tokenizer_problem)
        return mq_fail_memory(err, "opening a model");
    return mq_view_note(view, err, MQ_NOTE_NO_TOKENIZER "%s", view->tokenizer_problem);
}
