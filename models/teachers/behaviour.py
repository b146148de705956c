"""The teacher that learned from behaviour alone: completes a short log by what its user goes on to use."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from safetensors.torch import load_file, save_file

from feature_repo.catalogue import Catalogue, Items
from models.schema import Floats
from models.teachers.behaviour_model import SHOWN, BehaviourModel
from models.teachers.language import COMPLETE, CONTINUE, Language, Log, padded
from models.teachers.port import (
    Case,
    CaseEvent,
    Lesson,
    TeacherError,
    settings_digest,
    soft_labels,
)
from models.training.histories import item_category_shares

_SETTINGS_FILE = "behaviour.json"
BATCH = 256
"""Cases asked at once."""

_NAMED = 3


class _Settings(msgspec.Struct, frozen=True):
    catalogue: Catalogue
    item_ids: list[str]
    members: int
    width: int
    layers: int
    content_width: int
    temperature: float
    confidences: list[float]


class Behaviour:
    """Soft labels are the chances that an item is used at all, by the mean of the members.

    Args:
        temperature: softens the members' answers, as validation users' logs have it.
        confidences: at 0, 1, 2, ... events, the share of soft labels that validation users did use.
    """

    name = "behaviour"

    def __init__(
        self,
        members: Sequence[BehaviourModel],
        language: Language,
        items: Items,
        temperature: float = 1.0,
        confidences: Sequence[float] = (0.0,),
    ) -> None:
        self.members = [member.eval() for member in members]
        self.language, self.items = language, items
        self.temperature, self.confidences = temperature, list(confidences)
        self._shares = item_category_shares(language.catalogue, items)
        popular = torch.stack([torch.softmax(member.bias.detach(), dim=0) for member in self.members])
        self._usual = popular.mean(dim=0).numpy() @ self._shares  # [C] affinity of anyone
        digest = hashlib.sha256()
        for member in self.members:
            for name, tensor in sorted(member.state_dict().items()):
                digest.update(name.encode() + tensor.numpy().tobytes())
        self.version = settings_digest(digest.hexdigest(), self.temperature, self.confidences)

    def teach(self, cases: Sequence[Case]) -> Iterator[Lesson]:
        """A lesson a case; every case comes to a valid one."""
        for start in range(0, len(cases), BATCH):
            asked = cases[start : start + BATCH]
            chances, hidden = self.complete([self.language.log(case) for case in asked])
            for case, chance, state in zip(asked, chances, hidden, strict=True):
                yield self._lesson(case, chance, state)

    def complete(self, logs: Sequence[Log]) -> tuple[Floats, Floats]:
        """Chances [B, I] of each item, zero for those shown, summing to 1; last hidden states [B, W].

        Only the newest events that fit into a sentence are read.
        """
        sentences = [self.language.sentence(log, COMPLETE, range(len(log.items))[-SHOWN:]) for log in logs]
        tokens, last = torch.as_tensor(padded(sentences)), torch.tensor([len(s) - 1 for s in sentences])
        shown = np.zeros((len(logs), len(self.items)), bool)
        for row, log in enumerate(logs):
            shown[row, log.items] = True
        struck = torch.as_tensor(shown)
        chances, states = [], []
        with torch.no_grad():
            for member in self.members:
                state = member(tokens)[torch.arange(len(logs)), last]  # [B, W]
                scores = member.item_scores(state).masked_fill(struck, -torch.inf)
                chances.append(torch.softmax(scores / self.temperature, dim=1))
                states.append(state)
        return torch.stack(chances).mean(dim=0).numpy(), torch.cat(states, dim=1).numpy()

    def continue_logs(self, cases: Sequence[Case], length: int, seed: int = 0) -> list[Case]:
        """Each case with `length` likely next events, items and reactions drawn one after the other.

        No item comes twice. Members take turns, so that the draws differ as they do.
        """
        draw = torch.Generator().manual_seed(seed)
        for turn in range(length):
            member = self.members[turn % len(self.members)]
            cases = self._one_more(member, cases, draw)
        return list(cases)

    def save(self, folder: Path) -> None:
        """Write the teacher as `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, member in enumerate(self.members):
            save_file(member.state_dict(), folder / f"member-{number}.safetensors")
        lm = self.members[0].lm.config
        settings = _Settings(
            self.language.catalogue,
            self.language.item_ids,
            len(self.members),
            lm.n_embd,
            lm.n_layer,
            self.members[0].content.shape[1],
            self.temperature,
            self.confidences,
        )
        (folder / _SETTINGS_FILE).write_bytes(msgspec.json.encode(settings))

    @classmethod
    def load(cls, folder: Path, items: Items) -> "Behaviour":
        """Read a saved teacher.

        Raises:
            TeacherError: there is none, or it was trained on another list of items.
        """
        try:
            settings = msgspec.json.decode((folder / _SETTINGS_FILE).read_bytes(), type=_Settings)
            states = [load_file(folder / f"member-{n}.safetensors") for n in range(settings.members)]
        except (OSError, msgspec.MsgspecError) as error:
            raise TeacherError(f"{folder} holds no behaviour teacher: {error}; train one") from error
        if settings.item_ids != items.ids:
            raise TeacherError(f"{folder} was trained on other items: train it on this data set")
        language = Language(settings.catalogue, settings.item_ids)
        blank = np.zeros((len(items), settings.content_width), np.float32)
        members = []
        for state in states:
            member = BehaviourModel(language, blank, blank[:, 0], settings.width, settings.layers)
            member.load_state_dict(state)
            members.append(member)
        return cls(members, language, items, settings.temperature, settings.confidences)

    def _one_more(self, member: BehaviourModel, cases: Sequence[Case], draw: torch.Generator) -> list[Case]:
        language = self.language
        logs = [language.log(case) for case in cases]
        # The oldest events make room for the item that is drawn and the reaction to it.
        sentences = [language.sentence(log, CONTINUE, range(len(log.items))[1 - SHOWN :]) for log in logs]
        rows, last = torch.arange(len(logs)), torch.tensor([len(s) - 1 for s in sentences])
        with torch.no_grad():
            scores = member.item_scores(member(torch.as_tensor(padded(sentences)))[rows, last])
            for row, log in enumerate(logs):
                scores[row, log.items] = -torch.inf
            items = torch.multinomial(torch.softmax(scores, dim=1), 1, generator=draw)[:, 0].tolist()
            said = [[*s, language.first_item + item] for s, item in zip(sentences, items, strict=True)]
            scores = member.token_scores(member(torch.as_tensor(padded(said)))[rows, last + 1])
            reactions = scores[:, language.first_reaction :]
            drawn = torch.multinomial(torch.softmax(reactions, dim=1), 1, generator=draw)[:, 0].tolist()
        return [
            msgspec.structs.replace(
                case,
                events=(
                    *case.events,
                    CaseEvent(language.item_ids[item], *language.read_reaction(reaction)),
                ),
            )
            for case, item, reaction in zip(cases, items, drawn, strict=True)
        ]

    def _lesson(self, case: Case, chances: Floats, state: Floats) -> Lesson:
        labels, weights = soft_labels(chances, self.items.ids)
        affinity = chances @ self._shares
        lift = affinity * np.log(np.maximum(affinity, 1e-6) / np.maximum(self._usual, 1e-6))
        names, order = self.language.catalogue.categories, np.argsort(-lift)
        liked = tuple(names[place] for place in order[:_NAMED] if lift[place] > 0)
        return Lesson(
            user_id=case.user_id,
            count=case.count,
            items=labels,
            item_weights=weights,
            affinity=tuple((affinity / max(affinity.sum(), 1e-12)).tolist()),
            embedding=tuple(state.tolist()),
            confidence=self.confidences[min(case.count, len(self.confidences) - 1)],
            rationale=self._rationale(case, labels[0], liked),
            liked=liked,
            disliked=tuple(names[place] for place in order[::-1][:_NAMED] if lift[place] < 0),
        )

    def _rationale(self, case: Case, likeliest: str, liked: Sequence[str]) -> str:
        """What is likeliest, the event that lies nearest to it, and the categories that stand out."""
        index, titles = self.items.index, self.items.titles
        shown = [index[event.item_id] for event in case.events if event.item_id in index]
        said = f"likely to use {titles[index[likeliest]]}"
        if shown:
            vectors = self.members[0].item_vectors()
            near = torch.cosine_similarity(vectors[shown], vectors[index[likeliest]][None]).argmax()
            said += f", as others who used {titles[shown[int(near)]]}"
        elif any(value is not None for value in case.attributes.values()):
            said += ", as others who declared the same"
        return f"{said}; more than usual: {', '.join(liked)}" if liked else said
