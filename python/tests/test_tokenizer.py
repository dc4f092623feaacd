"""Token ids and texts are those of Hugging Face's tokenizers."""

import numpy as np
import pytest
import tokenizers

import halftone

TEXTS = [
    "Hello, world",
    "The quick brown fox jumps over the lazy dog.",
    " two  spaces, and more   ",
    "naïve café, Zürich, 你好, 🙂!",
    "line one\nline two\n\n\tindented",
    "1234567890 3.14 -- 'quoted' \"text\"",
    "<s>user: hi</s>",
    "a",
]


@pytest.fixture(params=["tiny", "sentence_piece"])
def folder(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_and_text_are_those_of_tokenizers(folder, text):
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    ours = halftone.AutoTokenizer.from_pretrained(folder)
    ids = theirs.encode(text).ids
    assert ours.encode(text, add_special_tokens=False) == ids
    assert ours(text, add_special_tokens=False).input_ids == ids
    for skip in (True, False):
        assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(
            ids, skip_special_tokens=skip
        )


@pytest.mark.parametrize("name", ["models/ref-75m", "fixtures/tiny-bf16"])
def test_ids_of_whole_models(shared, tiny_bf16, name):
    folder = tiny_bf16 if name.endswith("tiny-bf16") else shared(name)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    ours = halftone.AutoTokenizer.from_pretrained(folder)
    for text in TEXTS:
        encoded = theirs.encode(text).ids
        assert ours.encode(text) == encoded
        assert ours.decode(encoded) == theirs.decode(encoded, skip_special_tokens=False)


def test_a_gguf_file_has_the_same(tiny, tiny_gguf):
    folder, file = map(halftone.AutoTokenizer.from_pretrained, (tiny, tiny_gguf))
    for text in TEXTS:
        assert folder.encode(text) == file.encode(text)
    assert folder.chat_template == file.chat_template


def test_special_tokens(tiny):
    tokenizer = halftone.AutoTokenizer.from_pretrained(str(tiny))
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    assert (tokenizer.bos_token, tokenizer.eos_token) == ("<s>", "</s>")
    assert len(tokenizer) == tokenizer.vocab_size == 512
    assert repr(str(tiny)) in repr(tokenizer)


def test_encodings_are_lists_or_arrays(tiny):
    tokenizer = halftone.AutoTokenizer.from_pretrained(tiny)
    one = tokenizer("the fox")
    assert one["input_ids"] == one.input_ids == tokenizer.encode("the fox")
    assert one.attention_mask == [1] * len(one.input_ids)
    assert tokenizer(["the fox", "a"]).input_ids == [one.input_ids, tokenizer.encode("a")]
    arrays = tokenizer(["the fox", "the fox"], return_tensors="np")
    assert arrays.input_ids.dtype == np.int64
    assert arrays.input_ids.tolist() == [one.input_ids] * 2
    assert tokenizer.batch_decode(arrays.input_ids) == ["the fox"] * 2
    with pytest.raises(halftone.UnsupportedError, match="padded"):
        tokenizer(["the fox", "a"], return_tensors="np")
    with pytest.raises(halftone.UnsupportedError, match="return_tensors"):
        tokenizer("the fox", return_tensors="pt")


def test_half_a_character_is_replaced(tiny):
    tokenizer = halftone.AutoTokenizer.from_pretrained(tiny)
    theirs = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
    ids = tokenizer.encode("🙂")[:2]
    assert tokenizer.decode(ids) == theirs.decode(ids)
    with pytest.raises(halftone.UsageError, match="outside the vocabulary"):
        tokenizer.decode([512])


def test_chat_templates(tiny):
    tokenizer = halftone.AutoTokenizer.from_pretrained(tiny)
    chat = [{"role": "user", "content": "hi"}]
    text = tokenizer.apply_chat_template(chat, tokenize=False)
    assert text == "<s>user: hi</s>"
    opened = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert opened == text + "<s>assistant: "
    ids = tokenizer.apply_chat_template(chat, add_generation_prompt=True)
    theirs = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
    assert ids == theirs.encode(opened, add_special_tokens=False).ids
    assert tokenizer.apply_chat_template(chat, return_tensors="np").ndim == 2
    with_more = tokenizer.apply_chat_template(chat, tools=[{}, {}], mood="glad", tokenize=False)
    assert with_more == text + "[2 tools][glad]"
    with pytest.raises(halftone.UsageError, match="JSON"):
        tokenizer.apply_chat_template(chat, mood=object())
