"""Text is what the logits say it is."""

import threading

import numpy as np
import pytest
import tokenizers

import halftone


@pytest.fixture(scope="module")
def model(tiny):
    return halftone.AutoModelForCausalLM.from_pretrained(
        tiny, activations="f32", kv_grid="f32", threads=1
    )


@pytest.fixture(scope="module")
def prompt(model):
    return model.tokenizer.encode("Once upon a time")


def test_greedy_tokens_have_the_largest_logits(model, prompt):
    out = model.generate(input_ids=prompt, max_new_tokens=12)
    assert out.shape == (1, len(prompt) + 12)
    assert out[0, : len(prompt)].tolist() == prompt
    logits = model.logits(out[0])
    assert out[0, len(prompt) :].tolist() == logits[len(prompt) - 1 : -1].argmax(1).tolist()


def test_the_text_is_that_of_the_tokens(tiny, model, prompt):
    made = model.generate("Once upon a time", max_new_tokens=12)
    theirs = tokenizers.Tokenizer.from_file(str(tiny / "tokenizer.json"))
    assert made.text == str(made) == theirs.decode(made.token_ids)
    assert made.stop_reason == "length"
    assert made.prompt_tokens == len(prompt)
    assert prompt + made.token_ids == model.generate(prompt, max_new_tokens=12)[0].tolist()


def test_encodings_can_be_handed_on(model):
    encoded = model.tokenizer("Once upon a time", return_tensors="np")
    out = model.generate(**encoded, max_new_tokens=3)
    assert out.shape == (1, encoded.input_ids.shape[1] + 3)


def test_streams_give_the_same_text(model):
    whole = model.generate("Once upon a time", max_new_tokens=12).text
    stream = model.generate("Once upon a time", max_new_tokens=12, stream=True)
    pieces = list(stream)
    assert "".join(pieces) == whole == stream.result.text
    assert len(pieces) > 3
    called = []
    model.generate("Once upon a time", max_new_tokens=12, streamer=called.append)
    assert called == pieces


def test_streams_are_made_as_they_are_asked_for(model):
    whole = model.generate("Once upon a time", max_new_tokens=12).text
    stream = model.generate("Once upon a time", max_new_tokens=12, stream=True)
    first = next(stream)
    assert stream.result.text == first
    # The model can do something else meanwhile.
    other = model.generate("The three", max_new_tokens=5)
    assert first + "".join(stream) == whole
    assert model.generate("The three", max_new_tokens=5).text == other.text


def test_a_streamer_can_end_the_text(model):
    called = []

    def streamer(text):
        called.append(text)
        return len(called) < 3

    made = model.generate("Once upon a time", streamer=streamer)
    assert made.stop_reason == "stopped"
    assert made.text == "".join(called)
    assert len(called) == 3


def test_stop_texts_end_it(model):
    whole = model.generate("Once upon a time", max_new_tokens=30).text
    stop = whole[len(whole) // 2 :][:3]
    made = model.generate("Once upon a time", max_new_tokens=30, stop=stop)
    assert made.text == whole[: whole.index(stop)]
    assert made.stop_reason == "text"
    assert (
        model.generate("Once upon a time", max_new_tokens=30, stop=["~~~", stop]).text == made.text
    )


def test_conversations_go_through_the_template(model):
    chat = [{"role": "user", "content": "hi"}]
    ids = model.tokenizer.apply_chat_template(chat, add_generation_prompt=True)
    made = model.generate(chat, max_new_tokens=6)
    assert made.prompt_tokens == len(ids)
    assert model.generate(ids, max_new_tokens=6)[0].tolist() == ids + made.token_ids


def test_samples_follow_the_distribution(model, prompt):
    logits = model.logits(prompt)[-1].astype(np.float64)
    best = np.argsort(logits)[-3:]
    p = np.exp(logits[best] - logits[best].max())
    p /= p.sum()
    seen = [
        model.generate(prompt, max_new_tokens=1, top_k=3, seed=seed)[0, -1] for seed in range(1500)
    ]
    assert set(seen) <= set(best)
    for token, share in zip(best, p, strict=True):
        assert np.mean(np.array(seen) == token) == pytest.approx(share, abs=0.05)


def test_sampling_options(model):
    def text(**options):
        return model.generate("Once upon a time", max_new_tokens=16, **options).text

    greedy = text()
    assert text(do_sample=False) == greedy
    assert text(do_sample=True, top_k=1) == greedy
    assert text(temperature=0.0) == greedy
    assert text(do_sample=True, seed=3) == text(do_sample=True, seed=3)
    assert len({text(do_sample=True, temperature=2.0, seed=seed) for seed in range(4)}) > 1
    with pytest.raises(halftone.UsageError, match="do_sample"):
        text(do_sample=False, top_p=0.5)
    with pytest.raises(ValueError, match="top"):
        text(top_p=2.0)
    with pytest.raises(TypeError, match="num_beams"):
        text(num_beams=4)


def test_prompts_must_fit(tiny):
    small = halftone.AutoModelForCausalLM.from_pretrained(tiny, context=4)
    assert small.context == 4
    with pytest.raises(halftone.UsageError, match="context holds 4"):
        small.generate([5] * 5)
    with pytest.raises(halftone.UsageError, match="empty"):
        small.generate([])
    with pytest.raises(halftone.UsageError, match="give a text"):
        small.generate()
    assert small.generate([5] * 4, max_new_tokens=50).shape == (1, 5)


def test_threads_take_turns(model):
    prompts = ["Once upon a time", "The three", "To boil an egg"]
    alone = {p: model.generate(p, max_new_tokens=20).text for p in prompts}
    together = {}

    def work(p):
        together[p] = [model.generate(p, max_new_tokens=20).text for _ in range(5)]

    threads = [threading.Thread(target=work, args=(p,)) for p in prompts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == {p: [text] * 5 for p, text in alone.items()}
