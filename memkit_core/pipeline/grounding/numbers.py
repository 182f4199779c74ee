"""Numbers in digits and words, with the unit they count: English, Spanish, German, Chinese."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from .parts import SCALES, begins_part, part_at
from .words import Token, fold

#: Longer runs of digits are codes, not amounts: they are compared as they are written.
_MAX_DIGITS: Final = 15
#: What the years of a century begin with.
_CENTURIES: Final = frozenset(("16", "17", "18", "19", "20"))
#: Longer words are no numbers.
_LONGEST: Final = 40


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is written.

    Attributes:
        values: What it may mean ("1.500" is 1.5 or 1500), in one normal form.
        unit: What it counts, if that is a unit of a known kind.
    """

    text: str
    values: frozenset[str]
    unit: str | None
    start: int
    end: int


_UNITS: Final = {
    "%": "% percent pct prozent porciento",
    "$": "$ usd dollar dollars dolar dolares bucks 美元",
    "€": "€ eur euro euros 欧元",
    "pound": "£ gbp pound pounds lb lbs libra libras pfund",
    "¥": "¥ yuan rmb cny 元 块",
    "kg": "kg kilo kilos kilogram kilograms kilogramm kilogramos 公斤 千克",
    "g": "g gram grams gramm gramos 克",
    "km": "km kilometer kilometers kilometre kilometres kilometern kilometro kilometros 公里 千米",
    "mile": "mile miles milla millas meile meilen 英里",
    "m": "meter meters metre metres metern metro metros 米",
    "cm": "cm centimeter centimeters centimetros zentimeter 厘米",
    "minute": "min mins minute minutes minuto minutos minuten 分钟",
    "hour": "h hr hrs hour hours hora horas stunde stunden 小时",
    "day": "day days dia dias tag tage tagen 天",
    "week": "week weeks semana semanas woche wochen 周",
    "month": "month months mes meses monat monate monaten 个月",
    "year": "year years yr yrs ano anos jahr jahre jahren 年 岁",
}
UNIT_OF: Final = {word: unit for unit, words in _UNITS.items() for word in words.split()}
_WIDE_UNIT: Final = re.compile(
    "|".join(sorted((w for w in UNIT_OF if w[0] > "\u2e80"), key=len, reverse=True))
)
#: So much of the first unit is one of the second.
_CONVERSIONS: Final = (("week", "day", 7), ("year", "month", 12), ("hour", "minute", 60), ("day", "hour", 24))

_DIGITS: Final = re.compile(
    r"(?<![\d])\d{1,3}(?: \d{3})+(?![\d])|\d+(?:[.,'\u00a0]\d+)*",
)
#: Bounded, since there may be a number before every character.
_WORD_AFTER: Final = re.compile(r" ?([^\W\d_]{1,24})")
_SCALES: Final = {
    "k": 1_000, "thousand": 1_000, "mil": 1_000, "tausend": 1_000, "hundred": 100, "hundert": 100,
    "million": 10**6, "millions": 10**6, "millon": 10**6, "millones": 10**6, "millionen": 10**6, "mio": 10**6,
    "billion": 10**9, "billions": 10**9, "milliarde": 10**9, "milliarden": 10**9,
    "千": 1_000, "万": 10_000, "亿": 10**8, "百": 100, "dozen": 12, "docenas": 12, "dutzend": 12,
}  # fmt: skip

_ONES: Final = (
    "zero|cero|null one|uno|un|una|ein|eins|eine|einen two|dos|zwei three|tres|drei four|cuatro|vier "
    "five|cinco|funf six|seis|sechs seven|siete|sieben eight|ocho|acht nine|nueve|neun ten|diez|zehn "
    "eleven|once|elf twelve|doce|zwolf thirteen|trece|dreizehn fourteen|catorce|vierzehn "
    "fifteen|quince|funfzehn sixteen|dieciseis|sechzehn seventeen|diecisiete|siebzehn "
    "eighteen|dieciocho|achtzehn nineteen|diecinueve|neunzehn twenty|veinte|zwanzig veintiuno|veintiun "
    "veintidos veintitres veinticuatro veinticinco veintiseis veintisiete veintiocho veintinueve"
)
_TENS: Final = (
    "thirty|treinta|dreissig forty|cuarenta|vierzig fifty|cincuenta|funfzig sixty|sesenta|sechzig "
    "seventy|setenta|siebzig eighty|ochenta|achtzig ninety|noventa|neunzig"
)
_HUNDREDS: Final = (
    "cien|ciento doscientos|doscientas trescientos|trescientas cuatrocientos|cuatrocientas "
    "quinientos|quinientas seiscientos|seiscientas setecientos|setecientas ochocientos|ochocientas "
    "novecientos|novecientas"
)
_ORDINALS: Final = (
    "first|primero|primera|primer|erste|ersten|erster second|segundo|segunda|zweite|zweiten|zweiter "
    "third|tercero|tercera|tercer|dritte|dritten|dritter fourth|cuarto|cuarta|vierte|vierten "
    "fifth|quinto|quinta|funfte|funften sixth|sexto|sexta|sechste|sechsten "
    "seventh|septimo|septima|siebte|siebten "
    "eighth|octavo|octava|achte|achten ninth|noveno|novena|neunte|neunten tenth|decimo|decima|zehnte|zehnten "
    "eleventh|elfte|elften twelfth|zwolfte|zwolften"
)
_OTHERS: Final = {
    "twice": 2, "couple": 2, "pair": 2, "twins": 2, "both": 2, "zweimal": 2, "zwillinge": 2, "mellizos": 2,
    "gemelos": 2, "gemelas": 2, "beide": 2, "beiden": 2, "ambos": 2, "ambas": 2, "paar": 2, "par": 2,
    "thrice": 3, "triplets": 3, "trillizos": 3, "drillinge": 3, "dreimal": 3, "einmal": 1, "single": 1,
    "half": "0.5", "halb": "0.5", "media": "0.5", "medio": "0.5", "noon": 12, "midnight": 12, "mediodia": 12,
    "medianoche": 12, "mittag": 12, "mitternacht": 12, "dozen": 12, "docena": 12, "dutzend": 12, "decade": 10,
    "decada": 10, "jahrzehnt": 10, "hundred": 100, "hundert": 100, "thousand": 1_000, "mil": 1_000,
    "tausend": 1_000, "a": 1, "an": 1, "una": 1, "einer": 1, "einem": 1, "daily": 1, "weekly": 1,
}  # fmt: skip
#: Words that are numbers only now and then: they bear a number out, and never need to be borne out.
_WEAK: Final = frozenset(
    "one uno un una ein eins eine einen once first primero primera primer erste ersten erster second "
    "segundo segunda cuarto cuarta quinto quinta achte achten both single".split()
) | frozenset(_OTHERS)


@lru_cache(maxsize=1)
def _cardinals() -> dict[str, int]:
    table: dict[str, int] = {}
    for value, names in enumerate(_ONES.split()):
        table.update(dict.fromkeys(names.split("|"), value))
    for value, names in enumerate(_TENS.split(), start=3):
        table.update(dict.fromkeys(names.split("|"), 10 * value))
    for value, names in enumerate(_HUNDREDS.split(), start=1):
        table.update(dict.fromkeys(names.split("|"), 100 * value))
    return table


@lru_cache(maxsize=1)
def _ordinals() -> dict[str, int]:
    return {n: value for value, names in enumerate(_ORDINALS.split(), start=1) for n in names.split("|")}


def _cardinal(key: str) -> int | None:
    value = _cardinals().get(key)
    return _german(key) if value is None and len(key) < _LONGEST else value


@lru_cache(maxsize=16_384)
def _counts(key: str) -> bool:
    """Whether a word begins a number; most do not."""
    return _cardinal(key) is not None or key in _ordinals() or key in _OTHERS or begins_part(key)


@lru_cache(maxsize=4_096)
def _german(key: str) -> int | None:
    """The value of a German number written as one word: fünfundzwanzig, zweihundertdreißig."""
    key = key.replace("fuenf", "funf").replace("zwoelf", "zwolf")
    total = 0
    for scale, value in (("tausend", 1_000), ("hundert", 100)):
        before, found, after = key.partition(scale)
        if found:
            factor = _german(before) if before else 1
            if factor is None:
                return None
            total, key = total + factor * value, after.removeprefix("und")
    if not key:
        return total or None
    table = _cardinals()
    if key in table:
        return total + table[key]
    one, found, ten = key.partition("und")
    if found and table.get(one, 99) < 10 and table.get(ten, 0) >= 20:
        return total + table[one] + table[ten]
    return None


def plain(value: Decimal | int) -> str:
    """One normal form for equal numbers."""
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.lstrip("0") or "0" if not text.startswith("0.") else text


def readings(text: str) -> frozenset[str]:
    """What a number in digits may mean: a mark in it may part thousands or decimals."""
    digits = re.sub(r"\D", "", text)
    if len(digits) > _MAX_DIGITS:
        return frozenset((digits,))
    if digits == text:
        return frozenset((plain(int(text)),))
    marks = re.findall(r"\D", text)
    groups = re.split(r"\D", text)
    values: set[str] = set()
    if all(len(group) == 3 for group in groups[1:]) and len(set(marks)) == 1:
        values.add(plain(int(digits)))
    if marks[-1] in ".," and (len(marks) == 1 or marks[-1] not in marks[:-1]):
        values.add(plain(Decimal(f"{''.join(groups[:-1])}.{groups[-1]}")))
    return frozenset(values or {digits})


class _Reader:
    """Reads the numbers of one text, from left to right."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text = text
        self._tokens = tokens
        self.found: list[Number] = []

    def read(self) -> list[Number]:
        self._digits()
        place = 0
        while place < len(self._tokens):
            token = self._tokens[place]
            if token.word:
                counts = len(token.key) < _LONGEST and _counts(token.key)
                place = (self._part(place) or self._words(place) if counts else None) or place + 1
            else:
                place = self._wide(place) or place + 1
        return sorted(self.found, key=lambda number: number.start)

    def _digits(self) -> None:
        for match in _DIGITS.finditer(self._text):
            values, end = readings(match[0]), match.end()
            scale = _WORD_AFTER.match(self._text, end)
            if scale is not None:
                factor = _SCALES.get(scale[1].casefold()) or (
                    _SCALES.get(scale[1][0]) if scale[1][0] > "\u2e80" else None
                )
                if factor is not None and len(match[0]) <= _MAX_DIGITS:
                    scaled = frozenset(plain(Decimal(value) * factor) for value in values)
                    values = scaled | values if len(scale[1]) == 1 else scaled
                    end = scale.end() if scale[1].casefold() in _SCALES else scale.start(1) + 1
            hour = match[0] == "00" and self._text[match.start() - 1 : match.start()] == ":"
            self._add("" if hour else match[0], values, match.start(), end)

    def _add(self, said: str, values: frozenset[str], start: int, end: int) -> None:
        self.found.append(Number(said, values, self._unit(start, end), start, end))

    def _unit(self, start: int, end: int) -> str | None:
        before = self._text[start - 1 : start] if start else ""
        if before in ("$", "€", "£", "¥"):
            return UNIT_OF[before]
        rest = self._text[end : end + 24].lstrip(" -")
        wide = _WIDE_UNIT.match(rest)
        if wide is not None:
            return UNIT_OF[wide[0]]
        word = re.match(r"[^\W\d_]+|[%$€£¥]", rest)
        if word is None:
            return None
        if re.match(r"(?:per cent|por ciento)\b", rest, re.IGNORECASE):
            return "%"
        return UNIT_OF.get(fold(word[0]))

    def _words(self, place: int) -> int | None:
        """Read a number in words that begins here; where to go on."""
        token = self._tokens[place]
        if not token.word or not token.text.isalpha():
            return None
        start, total, current, last, strong = token.start, 0, 0, place, False
        seen = False
        here = place
        while here < len(self._tokens) and here < place + 12:
            key = self._tokens[here].key
            value = _cardinal(key)
            if value is None and key in SCALES and (seen or key in _OTHERS):
                factor = SCALES[key]
                if factor == 100:
                    current = (current or 1) * 100
                else:
                    total, current = total + (current or 1) * factor, 0
                strong = strong or seen
            elif value is not None and (not seen or _joins(current, value)):
                current += value
                strong = strong or key not in _WEAK or seen
            elif seen and key in ("and", "y", "-") and here + 1 < len(self._tokens):
                following = _cardinals().get(self._tokens[here + 1].key)
                if following is None or not _joins(current, following):
                    break
                here += 1
                continue
            else:
                break
            seen, last = True, here
            here += 1
        if not seen:
            return self._single(place)
        end, value = self._tokens[last].end, total + current
        self._add(self._text[start:end] if strong else "", frozenset((str(value),)), start, end)
        self._year(value)
        return last + 1

    def _part(self, place: int) -> int | None:
        """Read half a million and the like."""
        found = part_at(self._tokens, place, _cardinal)
        if found is None:
            return None
        value, behind = found
        start, end = self._tokens[place].start, self._tokens[behind - 1].end
        self._add(self._text[start:end], frozenset((plain(value),)), start, end)
        return behind

    def _year(self, value: int) -> None:
        """Take the last two numbers for a year too, if they may be one: nineteen eighty-five."""
        if len(self.found) < 2 or not 10 <= value <= 99:
            return
        before, last = self.found[-2:]
        century = next(iter(before.values))
        if century not in _CENTURIES or self._text[before.end : last.start] not in (" ", "-"):
            return
        year = Number(
            self._text[before.start : last.end],
            before.values | last.values | {f"{century}{value}"},
            last.unit,
            before.start,
            last.end,
        )
        self.found[-2:] = [year]

    def _single(self, place: int) -> int | None:
        token = self._tokens[place]
        value = _ordinals().get(token.key, _OTHERS.get(token.key))
        if value is None:
            return None
        said = "" if token.key in _WEAK else token.text
        self._add(said, frozenset((str(value),)), token.start, token.end)
        return place + 1

    def _wide(self, place: int) -> int | None:
        token = self._tokens[place]
        if token.text not in _WIDE_DIGITS:
            return None
        end = place
        while end < len(self._tokens) and end < place + 20 and self._tokens[end].text in _WIDE_DIGITS:
            end += 1
        run = "".join(t.text for t in self._tokens[place:end])
        last = self._tokens[end - 1].end
        value = wide_value(run)
        counted = last < len(self._text) and self._text[last] in _WIDE_MEASURES
        ordinal = token.start > 0 and self._text[token.start - 1] == "第"
        said = run if (counted or ordinal) and run != "一" else ""
        self._add(said, frozenset((str(value),)), token.start, last)
        return end


_WIDE_DIGITS: Final = {
    char: value
    for chars, value in (
        ("零〇", 0), ("一", 1), ("二两", 2), ("三", 3), ("四", 4), ("五", 5), ("六", 6), ("七", 7), ("八", 8),
        ("九", 9), ("十", 10), ("百", 100), ("千", 1_000), ("万", 10_000), ("亿", 10**8),
    )
    for char in chars
}  # fmt: skip
_WIDE_MEASURES: Final = frozenset("个只岁年月日号天周次块元公斤小分人本辆间位点楼层条名张件杯口米级岁")


def wide_value(run: str) -> int:
    """The value of a number in Chinese characters; a row of digits is read as such (二〇二四)."""
    if len(run) > 1 and all(_WIDE_DIGITS[char] < 10 for char in run):
        return int("".join(str(_WIDE_DIGITS[char]) for char in run))
    total = part = digit = 0
    for char in run:
        value = _WIDE_DIGITS[char]
        if value < 10:
            digit = value
        elif value < 10_000:
            part, digit = part + (digit or 1) * value, 0
        else:
            total, part, digit = (total + part + digit or 1) * value, 0, 0
    return total + part + digit


def _joins(current: int, value: int) -> bool:
    """Whether a smaller number completes the one before it: twenty-five, ciento veinte."""
    if value <= 0 or current <= 0:
        return current == 0
    return (current % 10 == 0 and value < 10 and current % 100 >= 20) or (current % 100 == 0 and value < 100)


def numbers_in(text: str, tokens: list[Token]) -> list[Number]:
    """All numbers of a text in normal form. One whose ``text`` is empty needs no evidence."""
    return _Reader(text, tokens).read()


_CLOCK: Final = re.compile(
    r"(\d{1,2})(?:[:.h]\d\d)? ?(?:[ap]\.?m\b|uhr\b|o'?clock|点|时|de la (?:tarde|noche|manana|mañana))"
    r"|(\d{1,2}):\d\d",
    re.IGNORECASE,
)


def clock_hours(text: str) -> set[str]:
    """Hours as the other clock writes them: 7 pm is 19, 19:30 is 7:30."""
    hours = {int(match[1] or match[2]) for match in _CLOCK.finditer(text)}
    return {str(hour + 12 if hour <= 12 else hour - 12) for hour in hours if hour < 25}


def converted(number: Number) -> set[tuple[str, str]]:
    """The same amount in related units."""
    same: set[tuple[str, str]] = set()
    for value in number.values:
        if len(value) > _MAX_DIGITS or number.unit is None:
            continue
        for large, small, factor in _CONVERSIONS:
            if number.unit == large:
                same.add((plain(Decimal(value) * factor), small))
            elif number.unit == small and (Decimal(value) / factor) == int(Decimal(value) / factor):
                same.add((plain(int(Decimal(value) / factor)), large))
    return same
