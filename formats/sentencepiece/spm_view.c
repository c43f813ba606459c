/* spm_view.c: the tokenizer of a Hugging Face folder that has no tokenizer.json. */
#include "sentencepiece.h"

#include "error.h"
#include "model_view.h"

moeq_status mq_spm_read_folder(const char *folder, struct mq_view *view, moeq_error *err)
{
    moeq_error problem = {0};
    const char *name = view->tokenizer_json.size ? NULL : mq_spm_find(folder);
    if (!name)
        return MOEQ_OK;
    const moeq_status status = mq_spm_folder_to_json(folder, name, &view->tokenizer_config_json,
                                                     &view->tokenizer_json, &problem);
    if (status == MOEQ_OK) {
        view->tokenizer_source = name;
        return MOEQ_OK;
    }
    mq_buffer_free(&view->tokenizer_json);
    if (status == MOEQ_NO_MEMORY)
        return mq_fail_memory(err, "reading a SentencePiece model");
    view->tokenizer_problem =
        mq_arena_printf(view->arena, "it has no tokenizer.json, and %s", problem.message);
    return view->tokenizer_problem ? MOEQ_OK : mq_fail_memory(err, "opening a model");
}
