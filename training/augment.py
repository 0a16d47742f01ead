"""Other ways to ask the same question: openings, synonyms, lost words, typing errors, case, punctuation.

Pure: everything random comes from the generator that is passed in.
"""

from __future__ import annotations

import re
from random import Random

_KOREAN_FORMS = (
    "{}란 무엇인가요?",
    "{}이란 무엇인가요?",
    "{}가 무엇인가요?",
    "{}는 무엇인가요?",
    "{}가 뭐야?",
    "{}이 뭐예요?",
    "{}가 뭔가요?",
    "{}를 설명해 주세요.",
    "{}를 설명해 줘.",
    "{}을 설명해 줄래?",
    "{}에 대해 알려줘.",
    "{}에 대해 설명해 주세요.",
    "{}가 무엇인지 알려 주세요.",
    "{}가 무엇인지 설명해 줘.",
    "{}는 무슨 뜻인가요?",
)

# What can stand in for an opening, with the rest of the question in {}.
OPENINGS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (
        re.compile(r"^(?:what is|what's|what are|explain|define|describe|tell me about) (.+?)[?.!]?$", re.I),
        (
            "What is {}?",
            "What are {}?",
            "Explain {}.",
            "Please explain {}.",
            "Can you explain {}?",
            "Could you explain {} to me?",
            "Can you explain what {} is?",
            "Can you tell me what {} is?",
            "Tell me about {}.",
            "Tell me what {} is.",
            "I want to know what {} is.",
            "I would like to understand {}.",
            "Do you know what {} is?",
            "Describe {}.",
            "Describe {} briefly.",
            "Give me a short explanation of {}.",
            "Give me an overview of {}.",
            "Help me understand {}.",
            "What exactly is {}?",
            "What is meant by {}?",
            "{}?",
            "{}",
        ),
    ),
    (
        re.compile(r"^(?:how does|how do) (.+?) work[?.!]?$", re.I),
        (
            "How does {} work?",
            "How do {} work?",
            "How exactly does {} work?",
            "Explain how {} works.",
            "Can you explain how {} works?",
            "Can you tell me how {} works?",
            "Tell me how {} works.",
            "I want to know how {} works.",
            "Describe how {} works.",
            "In which way does {} work?",
            "What is the idea of {}?",
        ),
    ),
    (
        re.compile(r"^(?:how do i|how can i|how should i|how to) (.+?)[?.!]?$", re.I),
        (
            "How do I {}?",
            "How can I {}?",
            "How can one {}?",
            "How do you {}?",
            "How would I {}?",
            "How to {}?",
            "What is the way to {}?",
            "What must I do to {}?",
            "What should I do to {}?",
            "I want to {}. How?",
            "Tell me how to {}.",
            "Show me how to {}.",
            "Can you tell me how to {}?",
            "Is there a way to {}?",
            "Which command do I need to {}?",
        ),
    ),
    (
        re.compile(r"^why (?:does|do|is|are|should|would) (.+?)[?.!]?$", re.I),
        (
            "Can you explain why {}?",
            "Tell me why {}.",
            "What is the reason that {}?",
            "Why {}?",
            "For what reason {}?",
            "How come {}?",
        ),
    ),
    (
        re.compile(r"^(?:what is the difference between|compare) (.+?) (?:and|with|to) (.+?)[?.!]?$", re.I),
        (
            "What is the difference between {} and {}?",
            "What are the differences between {} and {}?",
            "How do {} and {} differ?",
            "How does {} differ from {}?",
            "How is {} different from {}?",
            "In what way do {} and {} differ?",
            "What sets {} apart from {}?",
            "Compare {} and {}.",
            "{} versus {}?",
            "{} or {}?",
            "{} vs {}",
            "Explain the difference between {} and {}.",
            "Can you compare {} with {}?",
        ),
    ),
    (
        re.compile(
            r"^(.+?)(?:이란|란|가|이|는|은|를|을|에 대해) "
            r"(?:무엇인가요|뭐야|뭔가요|설명해 주세요|설명해 줘|알려줘|무슨 뜻인가요)[?.]?$"
        ),
        _KOREAN_FORMS,
    ),
)

WRAPPERS = (
    "Hi, {}",
    "Hello! {}",
    "Please tell me: {}",
    "Quick question: {}",
    "I have a question. {}",
    "{} Thanks.",
    "{} Please keep it short.",
    "{} Please explain.",
    "In short: {}",
    "So, {}",
    "And {}",
    "Sorry, {}",
    "Can you tell me: {}",
    "I wonder, {}",
    "{} I am new to this.",
    "My boss asks: {}",
    "Question: {}",
)

SYNONYMS: tuple[tuple[str, ...], ...] = (
    ("LLM", "large language model", "language model"),
    ("LLMs", "large language models", "language models"),
    ("KV cache", "key-value cache", "kv-cache"),
    ("TTFT", "time to first token"),
    ("TPOT", "time per output token"),
    ("GPU memory", "VRAM", "video memory"),
    ("Kubernetes", "k8s"),
    ("Triton", "Triton Inference Server", "NVIDIA Triton"),
    ("explain", "describe", "tell me about"),
    ("difference", "distinction"),
    ("differ", "vary"),
    ("fast", "quick"),
    ("faster", "quicker"),
    ("use", "apply"),
    ("used for", "good for", "for"),
    ("good for", "useful for"),
    ("purpose", "point", "role", "job"),
    ("benefit", "advantage", "point"),
    ("works", "functions"),
    ("make", "create"),
    ("build", "create"),
    ("start", "launch", "run"),
    ("stop", "shut down", "end"),
    ("show", "display", "list"),
    ("see", "view", "check", "find"),
    ("large", "big"),
    ("larger", "bigger"),
    ("many", "several", "multiple"),
    ("need", "require"),
    ("important", "useful", "relevant"),
    ("reduce", "lower", "decrease"),
    ("increase", "raise"),
    ("mean", "stand for"),
    ("means", "stands for"),
    ("happens", "occurs"),
    ("choose", "pick", "select"),
    ("answer", "response", "reply"),
    ("request", "query"),
    ("requests", "queries"),
    ("machine", "computer"),
    ("set", "configure"),
    ("why", "for what reason"),
    ("kind of", "type of", "sort of"),
    ("prevent", "avoid"),
    ("problem", "issue"),
)

_HANGUL = re.compile(r"[\uac00-\ud7a3]")

# Words that a question can lose without changing its meaning.
_FILLERS = frozenset(
    [
        *("a", "an", "the", "of", "do", "does", "is", "are", "in", "on", "for", "to", "my", "i", "you"),
        *("can", "it", "its", "that", "this", "and", "with", "when", "how", "what", "why"),
    ]
)

# Parts of invented names.
_ONSETS = (*"bcdfghjklmnprstvwz", "br", "ch", "cl", "dr", "fl", "gr", "pl", "pr", "sh", "sk", "sl", "sp", "st", "tr")
_VOWELS = (*"aeiou", "ai", "ea", "ee", "ou", "oo")
_CODAS = ("", "", "", *"bdgklmnprstx", "ck", "ll", "nd", "ng", "nt", "rd", "rk", "st")


def ask_again(question: str, rng: Random) -> str:
    """*question* in another form: mostly a light change, sometimes several."""
    text = question
    if rng.random() < 0.5:
        text = _reopen(text, rng)
    # A Korean question is a few long words, each of which matters.
    if not _HANGUL.search(text):
        if rng.random() < 0.3:
            text = _replace_synonym(text, rng)
        if rng.random() < 0.15:
            text = _wrap(text, rng)
        if rng.random() < 0.3:
            text = _drop_words(text, rng)
    if rng.random() < 0.12:
        text = _mistype(text, rng)
    return _restyle(text, rng).strip()


def _reopen(text: str, rng: Random) -> str:
    fitting = [(match, forms) for pattern, forms in OPENINGS if (match := pattern.match(text))]
    if not fitting:
        return text
    match, forms = rng.choice(fitting)
    return _capital(rng.choice(forms).format(*match.groups()))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _replace_synonym(text: str, rng: Random) -> str:
    groups = list(SYNONYMS)
    rng.shuffle(groups)
    for group in groups:
        for word in group:
            pattern = re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.I)
            if pattern.search(text):
                other = rng.choice([synonym for synonym in group if synonym != word])
                return _capital(pattern.sub(lambda _, other=other: other, text, count=1))
    return text


def _wrap(text: str, rng: Random) -> str:
    wrapper = rng.choice(WRAPPERS)
    if not wrapper.startswith("{}") and not text[:2].isupper():
        text = text[:1].lower() + text[1:]
    return wrapper.format(text)


def _drop_words(text: str, rng: Random) -> str:
    """Lose some small words, and now and then one word that matters, but never most of the question."""
    words = text.split()
    kept = [word for word in words if word.lower().strip("?.,!") not in _FILLERS or rng.random() < 0.6]
    if len(kept) > 4 and rng.random() < 0.4:
        kept.pop(rng.randrange(len(kept)))
    return " ".join(kept) if len(kept) >= 2 else text


def _mistype(text: str, rng: Random) -> str:
    places = [i for i in range(1, len(text) - 1) if text[i].isalpha() and text[i + 1].isalpha()]
    if len(text) < 8 or not places:
        return text
    i = rng.choice(places)
    change = rng.randrange(3)
    if change == 0:
        return text[:i] + text[i + 1] + text[i] + text[i + 2 :]
    if change == 1:
        return text[:i] + text[i + 1 :]
    return text[:i] + text[i] + text[i:]


def _restyle(text: str, rng: Random) -> str:
    chance = rng.random()
    if chance < 0.25:
        text = text.rstrip("?.! ") or text
    elif chance < 0.29:
        text = text.rstrip("?.! ") + rng.choice(("??", "?!", " ?", "...", "!"))
    chance = rng.random()
    if chance < 0.2:
        return text.lower()
    if chance < 0.22:
        return text.upper()
    return text


def invented_name(rng: Random) -> str:
    """A word that sounds like a name and means nothing, such as Skoodarn."""
    syllables = rng.choice((2, 2, 3))
    name = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) + rng.choice(_CODAS) for _ in range(syllables))
    return name if rng.random() < 0.5 else name.capitalize()
