"""ISO 19005-3, the rules that can be checked by looking: no validator of PDF/A can be had from pip, npm or Debian.

    assert pdfa_rules.faults(path) == []

Clause numbers are ISO 19005-3's. What is not checked stands in docs/explanation/pdf-conformance.md. The list was made
from the clauses, not from what our files happen to hold, and most rules are tried on a file that breaks them
(tests/unit/reports/test_pdfa_rules.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pikepdf
from pikepdf import Array, Dictionary, Name, Object, Stream, String

from tests.support import pdfa_fonts

Fault = Iterator[str]
_DATE = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(Z|[+-]\d\d'?\d\d'?)?")
_NS = {
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "pdf": "http://ns.adobe.com/pdf/1.3/",
    "pdfaid": "http://www.aiim.org/pdfa/ns/id/",
}
_ACTIONS = {"/GoTo", "/GoToR", "/GoToE", "/Thread", "/URI", "/Named", "/SubmitForm"}
_NAMED = {"/NextPage", "/PrevPage", "/FirstPage", "/LastPage"}
_FORBIDDEN_ANNOTATIONS = {"/3D", "/Sound", "/Screen", "/Movie"}
_BLENDS = {
    *("/Normal", "/Compatible", "/Multiply", "/Screen", "/Overlay", "/Darken", "/Lighten", "/ColorDodge", "/ColorBurn"),
    *("/HardLight", "/SoftLight", "/Difference", "/Exclusion", "/Hue", "/Saturation", "/Color", "/Luminosity"),
}
_OPERATORS = set(
    re.findall(
        r"\S+",
        "b B b* B* BDC BI BMC BT BX c cm CS cs d d0 d1 Do DP EI EMC ET EX f F f* G g gs h i ID j J K k l m M MP n q Q "
        "re RG rg ri s S SC sc SCN scn sh T* Tc Td TD Tf Tj TJ TL Tm Tr Ts Tw Tz v w W W* y ' \"",
    )
)


def faults(path: Path) -> list[str]:
    """Every rule that a file breaks, with its clause."""
    raw = path.read_bytes()
    found = [*_file(raw)]
    with pikepdf.open(path) as pdf:
        found += [f"6.1 syntax: {problem}" for problem in pdf.check_pdf_syntax()]
        for rule in _RULES:
            found += rule(pdf)
    return list(dict.fromkeys(found))


def _file(raw: bytes) -> Fault:
    if not re.match(rb"%PDF-1\.[0-7][\r\n]+%[\x80-\xff]{4}", raw):
        yield "6.1.2 header: no %PDF-1.n with a comment of four bytes above 127 behind it"
    if not re.search(rb"%%EOF[\r\n]{0,2}\Z", raw):
        yield "6.1.3 trailer: something follows the last %%EOF"


def _trailer(pdf: pikepdf.Pdf) -> Fault:
    if len(pdf.trailer.get("/ID", [])) != 2:
        yield "6.1.3 trailer: no file identifier"
    if "/Encrypt" in pdf.trailer:
        yield "6.1.3 trailer: encrypted"
    if len(pdf.objects) > 8_388_607:
        yield "6.1.13 limits: too many objects"


def _objects(pdf: pikepdf.Pdf) -> Fault:
    for number, one in enumerate(pdf.objects, 1):
        for fault in _walk(one, 0):
            yield f"{fault} (object {number})"
        if isinstance(one, Stream):
            filters = one.get("/Filter", Array())
            names = [filters] if isinstance(filters, Name) else list(filters)
            if {"/LZWDecode", "/Crypt"} & {str(name) for name in names}:
                yield f"6.1.7 streams: LZW or Crypt filter (object {number})"
            if any(key in one for key in ("/F", "/FFilter", "/FDecodeParms")):
                yield f"6.1.7 streams: content outside the file (object {number})"


def _walk(one: Any, depth: int) -> Fault:
    """6.1.13 and 6.5 in every direct value; references are objects of their own."""
    if isinstance(one, String):
        if len(bytes(one)) > 32_767:
            yield "6.1.13 limits: string longer than 32,767 bytes"
    elif isinstance(one, Name):
        if len(str(one).encode()) - 1 > 127:
            yield "6.1.13 limits: name longer than 127 bytes"
    elif isinstance(one, bool):
        return
    elif isinstance(one, int):
        if not -(2**31) <= one < 2**31:
            yield "6.1.13 limits: integer of more than 32 bits"
    elif isinstance(one, Array):
        for inner in one:
            if not getattr(inner, "is_indirect", False):
                yield from _walk(inner, depth + 1)
    elif isinstance(one, Dictionary | Stream):
        yield from _action(one)
        for key, inner in one.items():
            yield from _walk(Name(key), depth + 1)
            if not getattr(inner, "is_indirect", False):
                yield from _walk(inner, depth + 1)


def _action(one: Object) -> Fault:
    kind = one.get("/S")
    if one.get("/Type") == "/Action" or (isinstance(kind, Name) and ("/JS" in one or str(kind) == "/JavaScript")):
        if str(kind) not in _ACTIONS:
            yield f"6.5.1 actions: {kind}"
        if kind == "/Named" and str(one.get("/N")) not in _NAMED:
            yield f"6.5.1 actions: named {one.get('/N')}"
    if "/AA" in one:
        yield "6.5.2 actions: additional actions"


def _catalog(pdf: pikepdf.Pdf) -> Fault:
    root = pdf.Root
    for key, clause in (("/Requirements", "6.11"), ("/NeedsRendering", "6.4.2")):
        if key in root:
            yield f"{clause} catalog: {key}"
    names = root.get("/Names", Dictionary())
    for key in ("/AlternatePresentations", "/JavaScript"):
        if key in names:
            yield f"6.10 catalog: names have {key}"
    permissions = root.get("/Perms", Dictionary())
    if set(permissions.keys()) - {"/DocMDP", "/UR3"}:
        yield "6.1.12 permissions: other than DocMDP and UR3"
    for reference in permissions.get("/DocMDP", Dictionary()).get("/Reference", []):
        if {"/DigestLocation", "/DigestMethod", "/DigestValue"} & set(reference.keys()):
            yield "6.1.12 permissions: the signature reference has a digest"
    if "/Version" in root and not re.fullmatch(r"/1\.[0-7]", str(root.Version)):
        yield f"6.1.2 header: the catalog says version {root.Version}"
    # Level U does not demand these; a tagged file does (6.7 of level A).
    if "/StructTreeRoot" not in root or root.get("/MarkInfo", Dictionary()).get("/Marked") is not True:
        yield "6.7 tagged: no structure tree"
    if not str(root.get("/Lang", "")):
        yield "6.7.4 tagged: no language"


def _intent(pdf: pikepdf.Pdf) -> Fault:
    ours = [one for one in pdf.Root.get("/OutputIntents", []) if one.get("/S") == "/GTS_PDFA1"]
    if len(ours) != 1 or "/DestOutputProfile" not in ours[0]:
        yield "6.2.3 output intent: not exactly one of PDF/A with a profile"
        return
    profile = ours[0].DestOutputProfile
    icc = profile.read_bytes()
    kinds = {b"RGB ": 3, b"CMYK": 4, b"GRAY": 1}
    if icc[8] > 4 or icc[12:16] not in (b"mntr", b"prtr") or kinds.get(icc[16:20]) != profile.get("/N"):
        yield "6.2.3 output intent: the profile is of another version, class or number of components"
    if icc[16:20] != b"RGB ":
        yield "6.2.4.3 colour: pages use DeviceRGB, the profile is none of RGB"


def _pages(pdf: pikepdf.Pdf) -> Fault:
    for number, page in enumerate(pdf.pages, 1):
        for fault in _content(page.obj, page.obj.get("/Resources", Dictionary()), set()):
            yield f"{fault} (page {number})"
        if "/PresSteps" in page.obj:
            yield f"6.10 pages: steps of a presentation (page {number})"
        group = page.obj.get("/Group")
        if group is not None and str(group.get("/CS", "/DeviceRGB")) not in ("/DeviceRGB", "/DeviceGray"):
            yield f"6.2.10 transparency: blends in {group.CS} (page {number})"


def _content(content: Object, resources: Object, seen: set[tuple[int, int]]) -> Fault:
    """Operators, named resources, colours and nesting of one content stream and of the forms it draws."""
    depth = 0
    for operands, operator in pikepdf.parse_content_stream(content):
        word = str(operator)
        depth += (word == "q") - (word == "Q")
        if word not in _OPERATORS and word != "INLINE IMAGE":
            yield f"6.2.2 content: operator {word}"
        if depth > 28:
            yield "6.1.13 limits: q nested deeper than 28"
        if word in ("k", "K") or (word in ("cs", "CS") and str(operands[0]) == "/DeviceCMYK"):
            yield "6.2.4.3 colour: DeviceCMYK"
        kind = {"Tf": "/Font", "gs": "/ExtGState", "Do": "/XObject", "sh": "/Shading"}.get(word)
        if kind is not None and str(operands[0]) not in resources.get(kind, Dictionary()):
            yield f"6.2.2 content: {operands[0]} is no resource of its own"
    if depth != 0:
        yield "6.2.2 content: q and Q do not match"
    for state in resources.get("/ExtGState", Dictionary()).values():
        yield from _state(state)
    for one in resources.get("/XObject", Dictionary()).values():
        if one.objgen in seen:
            continue
        seen.add(one.objgen)
        yield from _drawn(one)
        if one.get("/Subtype") == "/Form":
            yield from _content(one, one.get("/Resources", resources), seen)


def _state(state: Object) -> Fault:
    if "/TR" in state or state.get("/TR2", Name.Default) != "/Default" or "/HTP" in state:
        yield "6.2.5 graphics state: transfer function or halftone"
    modes = state.get("/BM", Name.Normal)
    if not {str(mode) for mode in ([modes] if isinstance(modes, Name) else modes)} <= _BLENDS:
        yield f"6.2.5 graphics state: blend mode {modes}"


def _drawn(one: Object) -> Fault:
    if one.get("/Subtype") == "/Image":
        if "/Alternates" in one or "/OPI" in one or one.get("/Interpolate", False):
            yield "6.2.8 images: alternates, OPI or interpolation"
        if str(one.get("/ColorSpace")) == "/DeviceCMYK":
            yield "6.2.4.3 colour: DeviceCMYK"
    elif one.get("/Subtype") == "/Form":
        if "/OPI" in one or "/PS" in one or "/Ref" in one or one.get("/Subtype2") == "/PS":
            yield "6.2.9 forms: OPI, PostScript or reference"
    else:
        yield f"6.2.9 XObjects: {one.get('/Subtype')}"


def _annotations(pdf: pikepdf.Pdf) -> Fault:
    for page in pdf.pages:
        for one in page.obj.get("/Annots", []):
            kind, rectangle = str(one.get("/Subtype")), [float(edge) for edge in one.Rect]
            empty = rectangle[0] == rectangle[2] and rectangle[1] == rectangle[3]
            flags = int(one.get("/F", 0))
            if kind in _FORBIDDEN_ANNOTATIONS:
                yield f"6.3.1 annotations: {kind}"
            if kind != "/Popup" and ("/F" not in one or not flags & 4 or flags & 0b100100011):
                yield f"6.3.2 annotations: {kind} is not printed, or hidden"
            if "/AP" not in one and not empty and kind not in ("/Popup", "/Link"):
                yield f"6.3.3 annotations: {kind} without an appearance"
            if "/AP" in one and set(one.AP.keys()) != {"/N"}:
                yield f"6.3.3 annotations: {kind} with other appearances"
            if kind == "/Widget" and ("/A" in one or "/AA" in one):
                yield "6.4.1 fields: with an action"


def _form(pdf: pikepdf.Pdf) -> Fault:
    form = pdf.Root.get("/AcroForm")
    if form is None:
        return
    if form.get("/NeedAppearances", False):
        yield "6.4.1 fields: appearances are to be made"
    if "/XFA" in form:
        yield "6.4.2 fields: XFA"
    for field in form.get("/Fields", []):
        value = field.get("/V", Dictionary())
        if field.get("/FT") == "/Sig" and isinstance(value, Dictionary):
            # The bytes are checked by the validators of signatures; here only what PDF/A adds (6.4.3, annex B).
            if str(value.get("/SubFilter")) not in ("/ETSI.CAdES.detached", "/adbe.pkcs7.detached"):
                yield f"6.4.3 signature: {value.get('/SubFilter')}"
            if len(value.get("/ByteRange", [])) != 4:
                yield "6.4.3 signature: does not cover the file but for itself"


def _metadata(pdf: pikepdf.Pdf) -> Fault:
    stream = pdf.Root.get("/Metadata")
    if stream is None or stream.get("/Type") != "/Metadata" or stream.get("/Subtype") != "/XML":
        yield "6.6.2.1 metadata: no XMP"
        return
    text = stream.read_bytes().decode()
    if re.search(r"<\?xpacket begin=[^?]*\b(bytes|encoding)=", text):
        yield "6.6.2.1 metadata: the packet says bytes or encoding"
    try:
        tree = ElementTree.fromstring(re.sub(r"<\?xpacket.*?\?>", "", text).strip().lstrip("\ufeff"))  # noqa: S314
    except ElementTree.ParseError:
        yield "6.6.2.1 metadata: not well formed"
        return
    said = {**dict(_properties(tree))}
    if said.get("pdfaid:part") != "3" or said.get("pdfaid:conformance") not in ("A", "B", "U"):
        yield "6.6.4 metadata: does not say PDF/A-3"
    for name in said:
        if name.startswith("{"):
            yield f"6.6.2.3 metadata: {name} is of no schema that is described"
    pairs = {"/Title": "dc:title", "/Author": "dc:creator", "/Subject": "dc:description", "/Producer": "pdf:Producer"}
    pairs |= {"/Creator": "xmp:CreatorTool", "/CreationDate": "xmp:CreateDate", "/ModDate": "xmp:ModifyDate"}
    for key, name in pairs.items():
        value = pdf.docinfo.get(key)
        if value is not None and _same(str(value)) != _same(said.get(name, "")):
            yield f"6.6.3 metadata: {key} and {name} differ"


def _properties(tree: ElementTree.Element) -> Iterator[tuple[str, str]]:
    for description in tree.iter(f"{{{_NS['rdf']}}}Description"):
        found = {**description.attrib, **{child.tag: "".join(child.itertext()).strip() for child in description}}
        for key, value in found.items():
            space, _, local = key.removeprefix("{").rpartition("}")
            prefix = next((short for short, full in _NS.items() if full == space), None)
            if prefix != "rdf":
                yield (f"{prefix}:{local}" if prefix else key), value


def _same(value: str) -> str:
    """Text as it is; a date of either spelling as fourteen digits in UTC where it says so."""
    pdf_date = _DATE.fullmatch(value)
    if pdf_date is not None:
        return "".join(part or "" for part in pdf_date.groups()[:6]).ljust(14, "0")
    if re.match(r"\d{4}-\d\d-\d\dT", value):
        return re.sub(r"\D", "", value[:19])
    return value


def _attachments(pdf: pikepdf.Pdf) -> Fault:
    associated = {one.objgen for one in pdf.Root.get("/AF", [])}
    names = list(pdf.Root.get("/Names", Dictionary()).get("/EmbeddedFiles", Dictionary()).get("/Names", []))
    for one in names[1::2]:
        file = str(one.get("/UF", one.get("/F", "?")))
        if not {"/F", "/UF", "/Desc", "/AFRelationship"} <= set(one.keys()):
            yield f"6.8 attachments: {file} without F, UF, Desc or AFRelationship"
        if one.objgen not in associated:
            yield f"6.8 attachments: {file} is not associated with the document"
        stream = one.EF.F
        if not re.fullmatch(r"/[\w.+-]+/[\w.+-]+", str(stream.get("/Subtype", ""))):
            yield f"6.8 attachments: {file} has no media type"
        parameters = stream.get("/Params", Dictionary())
        if not _DATE.fullmatch(str(parameters.get("/ModDate", ""))):
            yield f"6.8 attachments: {file} has no date"
        if int(parameters.get("/Size", -1)) != len(stream.read_bytes()):
            yield f"6.8 attachments: {file} has another size"
    if [str(name) for name in names[::2]] != sorted(str(name) for name in names[::2]):
        yield "6.8 attachments: the names are not in order"


_RULES: tuple[Callable[[pikepdf.Pdf], Fault], ...] = (
    *(_trailer, _objects, _catalog, _intent, _pages, pdfa_fonts.faults, _annotations, _form, _metadata, _attachments),
)
