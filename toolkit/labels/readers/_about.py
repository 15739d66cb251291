"""Which image an annotation file is about, where its own name and the name written in it differ."""

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from toolkit.errors import LabelError
from toolkit.images.hints import may_be_image
from toolkit.labels.ends import base_name, stem
from toolkit.runtime.messages import counted, quoted

Choose = Callable[[str, str], str]


@dataclass
class ImageNames:
    """The images that annotation files of a folder are about.

    Attributes
    ----------
    files : iterable of str
        Ids of all files of the folder.
    ending : str
        That of the annotation files, such as ``.xml``.
    choice : {"auto", "file", "filename"}
        Which of two images an annotation file is about: that of its own name, or that written in it.
    """

    files: Iterable[str]
    ending: str
    choice: str = "auto"
    by_file: int = 0  # named by the annotation file, as no image has the name written in it
    disagreeing: list[tuple[str, str]] = field(default_factory=list)
    _images: dict[str, list[str]] = field(init=False)
    _stems: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self._images = defaultdict(list)
        annotations = []
        for name in self.files:
            if name.lower().endswith(self.ending):
                annotations.append(_stem_of(name))
            elif may_be_image(name):
                self._images[stem(base_name(name))].append(name)
        # without images in the folder, those of the annotation files' names are supposed
        self._stems = set(self._images or annotations)

    def image_of(self, annotation: str, written: str) -> str:
        """Return the id of the image of an annotation file, in which `written` names it (or nothing does)."""
        own, other = _stem_of(annotation), stem(base_name(written))
        beside = posixpath.join(posixpath.dirname(annotation), written.replace("\\", "/"))
        if own == other:
            return beside
        if not written or (own in self._stems and other not in self._stems and self._images):
            self.by_file += 1
            return self._beside(annotation)
        if own in self._stems and other in self._stems:
            self.disagreeing.append((annotation, written))
            return self._beside(annotation) if self.choice == "file" else beside
        return beside

    def _beside(self, annotation: str) -> str:
        """Return the image of the annotation file's name: in its folder, or the only one elsewhere."""
        path = posixpath.splitext(annotation)[0]
        images = self._images.get(_stem_of(annotation), [])
        here = [name for name in images if posixpath.dirname(name) == posixpath.dirname(annotation)]
        found = here or images
        return found[0] if len(found) == 1 else path

    def notes(self, source: object) -> tuple[str, ...]:
        """Return what was decided; `LabelError` if files disagree with what is written in them."""
        notes = []
        if self.by_file:
            notes.append(
                f"{counted(self.by_file, f'{self.ending} file')} matched by the file's name: no image has "
                "the name written in it"
            )
        if self.disagreeing:
            number = counted(len(self.disagreeing), f"{self.ending} file names", f"{self.ending} files name")
            annotation, written = self.disagreeing[0]
            text = f"{number} two images of the set: {quoted(annotation)} says {quoted(written)}"
            if self.choice == "auto":
                raise LabelError(
                    f"{source}: {text}; --xml-image file takes the image of the file's own name, --xml-image "
                    "filename the one written in it"
                )
            which = "of its own name" if self.choice == "file" else "written in it"
            notes.append(f"{text}; each is about the image {which} (--xml-image {self.choice})")
        return tuple(notes)


def _stem_of(annotation: str) -> str:
    """Return the stem of ``1.xml``, or of ``1.jpg.xml``."""
    return stem(base_name(posixpath.splitext(annotation)[0]))
