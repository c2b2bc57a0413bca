"""Tiny random BERT and RoBERTa checkpoints with tokenizers of their own."""

from __future__ import annotations

TEXT = """The cat sat on the mat. The dog ate 12 apples and 30 pears in 1999, then it slept.
Question: what is the capital of France? Answer: Paris is the capital of France.
A quick brown fox jumps over the lazy dog; it isn't the fox's fault. Naïve café, größer, 東京.
"""
POSITIONS = 40


def tiny_bert(folder):
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word.strip(".,;:?").lower() for word in TEXT.split()})
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    vocab = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,;:?!'", *letters, *(f"##{c}" for c in letters), *words]
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(vocab)) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(3)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    BertModel(
        BertConfig(vocab_size=len(set(vocab)), max_position_embeddings=POSITIONS, initializer_range=0.5, **size),
        add_pooling_layer=False,
    ).save_pretrained(folder)
    return folder


def tiny_roberta(folder):
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaModel

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "<pad>", "</s>", "<mask>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([TEXT] * 3, trainer)
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>", cls_token="<s>", sep_token="</s>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(4)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    RobertaModel(
        RobertaConfig(
            vocab_size=len(tokenizer), max_position_embeddings=POSITIONS, initializer_range=0.5, pad_token_id=1, **size
        ),
        add_pooling_layer=False,
    ).save_pretrained(folder)
    return folder
