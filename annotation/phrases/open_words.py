"""Tags of nouns, adjectives and verbs. Owns the choice where one word can be more than one of them.

All functions look at one token of a sentence whose earlier tokens are already tagged.
"""

from __future__ import annotations

from datasetkit.annotation.phrases.sentence import NOUNS, Sentence

# A noun is expected after one of these.
_NOUN_OPENERS = frozenset({"DT", "JJ", "CD", "POS"})
_SINGULAR_ARTICLES = frozenset({"a", "an", "one", "another"})


def tag_open_word(sentence: Sentence, index: int) -> str:
    """Return the tag of a word of an open class."""
    word, words = sentence.word[index], sentence.words
    if not any("a" <= letter <= "z" for letter in word):
        return "STOP"  # words in other scripts
    if _is_participle(sentence, index):
        return _participle(sentence, index)  # "parked"
    if word in words.colours or word in words.adjectives:
        return _adjective(sentence, index)  # "black", "orange"
    if word in words.shades and sentence.word_at(index + 1) in words.colours:
        return "JJ"  # "a lime green car"
    if sentence.is_form(word, words.noun_verbs):
        return _noun_or_verb(sentence, index)  # "ski", "drinks"
    if sentence.is_form(word, words.verbs) and not sentence.is_name(word):
        return _verb_or_noun(sentence, index)  # "rides", "load"
    if sentence.is_name(word) or word in words.ing_nouns:
        return sentence.noun_tag(word)  # "dog", "building"
    return _unlisted(sentence, index)  # "market", "outdoor"


def _unlisted(sentence: Sentence, index: int) -> str:
    """Tag a word that is in no list: as the base tagger does, unless the words before it contradict that."""
    word, base, before = sentence.word[index], sentence.base[index], sentence.tag_at(index - 1)
    if base.startswith("NN"):
        return _unlisted_noun(sentence, index)  # "wine"
    if base.startswith("JJ"):
        ends_phrase = before in ("DT", "JJ") and not sentence.goes_on(index)
        # "in a white t-shirt" ends with its noun; "an outdoor market" continues to it.
        has_determiner = ends_phrase and sentence.tags[sentence.phrase_start(index - 1)] == "DT"
        return sentence.noun_tag(word) if has_determiner else "JJ"
    if base.startswith("VB"):
        verb = before in ("NN", "NNS", "PRP", "VB", "RB") or sentence.word_at(index - 1) == "to"
        verb = verb or (before == "CC" and sentence.has_object(index))
        # "a dump truck dumps dirt": a noun after "a", a verb after "truck".
        return "VB" if verb else sentence.noun_tag(word)
    if base.startswith("RB"):
        return "RB"  # "two dogs quickly run"
    # "a can of paint": for the base tagger, "can" is an auxiliary and nothing else
    return "NN" if before in ("DT", "JJ") else "RB"


def _unlisted_noun(sentence: Sentence, index: int) -> str:
    """Tag a noun of the base tagger: as a verb where the nouns before it require one ("a bird pecks")."""
    tag, before = sentence.noun_tag(sentence.word[index]), sentence.tag_at(index - 1)
    if tag == "NN" and before == "NNS" and sentence.word[index - 1] not in sentence.words.plural_modifiers:
        return "VB" if sentence.ends_clause(index) else "NN"  # "people horseback riding"
    if tag == "NNS" and before == "NN" and sentence.word[sentence.phrase_start(index - 1)] in _SINGULAR_ARTICLES:
        return "NN" if sentence.goes_on(index) else "VB"  # "a bird pecks"
    return tag  # "a glass of wine"


def _adjective(sentence: Sentence, index: int) -> str:
    """Tag an adjective, or the noun that some adjectives are where none follows ("an orange", "a remote")."""
    word, words = sentence.word[index], sentence.words
    if word not in words.adjective_nouns or sentence.goes_on(index):
        return "JJ"  # "a black dog", "an adult male"
    if word not in words.colours:
        return "NN"  # "a glass of wine"
    if sentence.word_at(index + 1) in words.conjunctions:
        beyond = sentence.word_at(index + 2)
        if beyond in words.colours or (beyond in words.adjectives and beyond not in words.adjective_nouns):
            return "JJ"  # "an orange and white boat"
    if index == 0 or sentence.tags[index - 1] == "DT":
        return "NN"  # "peels an orange"
    opener = sentence.word[index - 1]
    if sentence.tags[index - 1] == "CC":
        opener = sentence.word_at(index - 2)
    # "the shirt is orange" and "red and orange" are adjectives, "a bowl of orange" is a noun
    return "JJ" if opener in words.copulas or opener in words.colours or not sentence.is_name(word) else "NN"


def _is_participle(sentence: Sentence, index: int) -> bool:
    word, words = sentence.word[index], sentence.words
    if word in words.irregular_participles:  # "leaves stuck to its tail"
        return True
    if word.endswith("ing") and len(word) > 4:
        after_subject = sentence.tag_at(index - 1) in ("VB", "PRP", "NNS")
        # "a cat sleeping", "he is painting a wall", but "a building"
        return word not in words.ing_nouns or (after_subject and word[:-3] in words.verbs | words.noun_verbs)
    # "a parked car", but not "a red-haired man"
    return word.endswith("ed") and len(word) > 3 and not sentence.base[index].startswith("NN") and "-" not in word


def _participle(sentence: Sentence, index: int) -> str:
    """Distinguish "a parked car" from "a car parked"."""
    word, words = sentence.word[index], sentence.words
    place = sentence.before(index)
    before, opener = sentence.tag_at(place), sentence.word_at(place)
    goes_on, is_ing = sentence.goes_on(index), word.endswith("ing")
    describes = not is_ing or word in words.describing_participles
    alone = opener in words.stands_alone
    if before == "DT" and (describes or not alone):
        return "JJ" if goes_on else "VB" if alone else "NN"  # "a parked car", "another parked near it", "a set of keys"
    if not goes_on:
        return "VB"  # "a car parked on the side"
    if before in NOUNS:
        return _compound_participle(sentence, index)  # "a snow covered road"
    if before == "PRP" or (before == "VB" and is_ing):
        return "VB"  # "he is wearing sunglasses"
    if before == "CC":
        after_nominal = sentence.tag_at(sentence.before(place)) in ("NN", "NNS", "JJ")
        return "JJ" if after_nominal and describes else "VB"  # "a knife and sliced apples"
    if before != "JJ" and not describes:
        return "VB"  # "playing tennis"
    # "a man asleep wearing a hat", but "a red parked car"
    return "VB" if opener in words.predicative or (alone and is_ing) else "JJ"


def _compound_participle(sentence: Sentence, index: int) -> str:
    """Distinguish "a snow covered road", where the noun before is a modifier too, from "a man fed sheep"."""
    word, before = sentence.word[index], sentence.word[index - 1]
    if sentence.tags[index - 1] != "NN" or word.endswith("ing"):
        return "VB"  # "a man feeding sheep"
    makes_one = not sentence.is_name(before) and sentence.is_name(sentence.word_at(index + 1))
    makes_one = makes_one and word.endswith("ed") and not _is_participle(sentence, index + 1)
    if word in sentence.words.compound_participles or makes_one:  # "a snow covered road", "a mud splattered car"
        sentence.tags[index - 1] = "JJ"
        return "JJ"
    return "VB"  # "a man fed sheep"


def _verb_or_noun(sentence: Sentence, index: int) -> str:
    """Tag a word that is a verb unless a noun is expected ("rides a bus", "a ride")."""
    word, words = sentence.word[index], sentence.words
    before, opener = sentence.tag_at(index - 1), sentence.word_at(index - 1)
    if before in _NOUN_OPENERS and opener not in words.predicative:
        # "a load of logs", but "another rides a horse"
        alone = opener in words.stands_alone and (before != "DT" or word.endswith("s"))
        return "VB" if alone else sentence.noun_tag(word)
    if before == "IN" and opener not in words.clause_openers and opener != "to":
        return sentence.noun_tag(word)  # "a woman in suits"
    if before == "NN" and not word.endswith("s") and not sentence.is_plural_subject(index - 1):
        return "VB" if sentence.ends_clause(index) else "NN"  # "a man and his dog sit on a bench"
    return "VB"  # "a cook prepares a pizza"


def _noun_or_verb(sentence: Sentence, index: int) -> str:
    """Tag a word that is a noun unless it follows a subject ("skis", "two men ski")."""
    word, words = sentence.word[index], sentence.words
    opener = sentence.word_at(index - 1)
    before = sentence.tag_at(sentence.before(index))
    noun = sentence.noun_tag(word)
    is_base = word in words.noun_verbs and noun == "NN"
    verb = False
    if before in NOUNS:
        # "men drink wine", "a woman cooks at an oven"
        verb = _agrees_as_base(sentence, index) if is_base else _agrees_as_third_person(sentence, index)
    elif before == "PRP":
        verb = opener not in ("there", "here")  # "she drinks wine", but "there lights ..."
    elif before == "CC":
        verb = sentence.has_object(index)  # "a man stands and drinks a beer"
    elif before == "VB":
        verb = is_base and opener in words.modals  # "people can ski"
    elif opener == "to" and is_base:
        attached = sentence.word_at(index - 2).endswith("ed")
        # "a man wants to ski", but "a dog tied to fence"
        verb = sentence.tags[index - 1] == "IN" and not attached and sentence.ends_clause(index)
    return "VB" if verb else noun


def _agrees_as_base(sentence: Sentence, index: int) -> bool:
    """Return whether the nouns before require a verb without "-s": a plural, or two nouns joined by "and"."""
    if sentence.tags[index - 1] == "RB":
        return sentence.ends_clause(index)  # "two men just stand in water"
    if sentence.is_plural_subject(index - 1):  # "potted plants line the balcony"
        return sentence.word[index - 1] not in sentence.words.plural_modifiers
    start = sentence.phrase_start(index - 1)
    # "a fire truck and a police car block the road", but "a dump truck"
    return sentence.tag_at(start - 1) == "CC" and sentence.ends_clause(index)


def _agrees_as_third_person(sentence: Sentence, index: int) -> bool:
    """Return whether the nouns before require a verb with "-s": singular by their determiner, or things that move."""
    place = sentence.before(index)
    noun = sentence.word[place]
    if sentence.tags[place] == "NNS":
        return False  # "two women cooks"
    start = sentence.phrase_start(place)
    if sentence.word[start] in sentence.words.singular_determiners or sentence.tags[start] == "CD":
        return sentence.word[start] in sentence.words.singular_determiners  # "a plane lands"
    # "the bus stops at a light": "the" leaves the number open, and buses are listed as things that move.
    categories = sentence.lexicon.categories(noun)
    return noun in sentence.words.mover_words or any(category in sentence.words.movers for category in categories)
