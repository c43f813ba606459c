"""llama.cpp as the Python package cyllama carries it, built: ids and perplexity of a GGUF file."""
import cyllama.llama.llama_cpp as llama
import numpy as np

CONTEXT = 512


class _Model(llama.LlamaModel):
    """get_logits_ith of cyllama 0.2.18 asks its model for a number that only the vocabulary has."""

    @property
    def n_vocab(self):
        return self.get_vocab().n_vocab


class Model:
    def __init__(self, path, threads=2):
        llama.disable_logging()
        llama.llama_backend_init()
        llama.ggml_backend_load_all()
        self.model = _Model(str(path), llama.LlamaModelParams())
        self.vocabulary = self.model.get_vocab()
        params = llama.LlamaContextParams()
        params.n_ctx = params.n_batch = params.n_ubatch = CONTEXT
        params.n_threads = params.n_threads_batch = threads
        self.context = llama.LlamaContext(self.model, params)

    def tokenize(self, text):
        """With BOS where the file says so; special tokens in the text are tokens."""
        return self.vocabulary.tokenize(text, True, True)

    def perplexity(self, ids):
        """As llama-perplexity: windows of 512 tokens, of which the second half is scored."""
        losses = []
        for start in range(0, len(ids) - CONTEXT + 1, CONTEXT):
            window = list(ids[start:start + CONTEXT])
            if self.vocabulary.get_add_bos():
                window[0] = self.vocabulary.token_bos()
            losses += self._losses(window)
        return float(np.exp(np.mean(losses)))

    def _losses(self, window):
        batch = llama.LlamaBatch(n_tokens=CONTEXT, embd=0, n_seq_max=1)
        for position, token in enumerate(window):
            batch.add(token, position, [0], position >= CONTEXT // 2)
        self.context.kv_cache_clear()
        if self.context.decode(batch):
            raise RuntimeError("llama_decode failed")
        losses = []
        for position in range(CONTEXT // 2, CONTEXT - 1):
            logits = np.asarray(self.context.get_logits_ith(position), np.float64)
            top = logits.max()
            losses.append(top + np.log(np.exp(logits - top).sum()) - logits[window[position + 1]])
        return losses
