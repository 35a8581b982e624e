r"""The map that a reader drives by menus: five native select boxes and one picture.

Chapter: ``zoo``.
"""

from __future__ import annotations

import base64
import html
import json
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from torch import Tensor

from gdl.plot.style import PALETTE
from gdl.zoo.assumptions import Layer

EXPLORER_BYTES = 200_000
STEPS = 32  # colours where the palette has too few
FIELDS = ("domain", "group", "input", "output", "support")

# As in the player of gdl.plot: handlers find their parts through the enclosing element, so no id
# and no script tag is needed. Where handlers are stripped nothing reveals the menus, and the first
# layer stands alone, as a picture and as a sentence. A change in any menu bubbles up to the root.
_CHOOSE = """
const data=this.gdlMap??=JSON.parse(this.dataset.layers),
menus=[...this.querySelectorAll('select')],word=i=>data.words[i];
let left=data.layers;
menus.forEach((menu,k)=>{
const found=[...new Set(left.map(l=>l[k]))],old=[...menu.options].map(o=>+o.value),
kept=menu.options.length?+menu.value:data.layers[0][k];
if(String(found)!==String(old))menu.replaceChildren(...found.map(i=>new Option(word(i),i)));
const value=found.includes(kept)?kept:k===1?found[found.length-1]:found[0];
menu.value=value;left=left.filter(l=>l[k]===value)});
const [,,,,,rows,columns,count,second,route,name,chapter,codes,sizes]=left[0],
size=Math.max(2.5,Math.min(30,320/Math.max(rows,columns))),zoom=2,
canvas=this.querySelector('canvas'),pen=canvas.getContext('2d');
canvas.width=Math.ceil(columns*size*zoom);canvas.height=Math.ceil(rows*size*zoom);
canvas.style.width=columns*size+'px';
pen.scale(zoom,zoom);pen.fillStyle='#fff';pen.fillRect(0,0,columns*size,rows*size);
pen.textAlign='center';pen.textBaseline='middle';pen.font=`${size*.42}px sans-serif`;
for(let i=0;i<rows*columns;i++){
const k=parseInt(codes.slice(2*i,2*i+2),36);
const x=(i%columns)*size,y=Math.floor(i/columns)*size;
if(size>8){pen.strokeStyle='#ccc';pen.lineWidth=.5;pen.strokeRect(x,y,size,size)}
if(!k)continue;
const code=sizes?parseInt(sizes[i],36):9,minus=code>9,
side=size*Math.sqrt((minus?code-9:code)/9),gap=(size-side)/2,
[color,dark]=count<=data.few.length?data.few[k-1]:data.many[Math.floor((k*.618034%1)*data.many.length)];
pen.fillStyle=pen.strokeStyle=color;
if(minus){pen.lineWidth=size*.1;pen.strokeRect(x+gap+size*.06,y+gap+size*.06,side-size*.12,side-size*.12)}
else pen.fillRect(x+gap,y+gap,side+.3,side+.3);
if(size>12){pen.fillStyle=minus||!dark?'#000':'#fff';
pen.fillText((minus?'\\u2212':'')+k,x+size/2,y+size/2)}}
const [domain,group,from,to,where]=left[0].slice(0,5),
text=`${data.what[word(domain)]}, group ${word(group)}, from ${word(from)} to ${word(to)}`+
(word(where)==='everywhere'?'':`, weights only at: ${word(where)}`)+
`: ${word(name)}; ${count===1?'1 free weight':count+' free weights'} in `+
`${rows} x ${columns} entries, ${second} counted by ${word(route)}`,
line=this.querySelector('.gdl-map-text'),room=word(chapter).replaceAll('_',' ');
canvas.setAttribute('aria-label',text);line.textContent=text+'. Chapter: ';
if(location.pathname.endsWith('/zoo.html')){
const link=document.createElement('a');link.href=word(chapter)+'.html';link.textContent=room;
link.style.color='#0067a0';line.append(link,'.')}else line.append(room+'.')
"""
_REVEAL = """
const m=this.closest('.gdl-map');
if(m.querySelector('.gdl-map-menus').hidden){
m.querySelector('.gdl-map-menus').hidden=false;m.querySelector('canvas').hidden=false;
this.hidden=true;this.style.display='none';m.onchange()}
"""
_MAP = """\
<div class="gdl-map" role="group" aria-label="Map of assumptions and layers" \
data-layers="{data}" onchange="{choose}" \
style="max-width:640px;background:#fff;color:#000;padding:8px;color-scheme:light">
<div class="gdl-map-menus" hidden>
<div style="display:flex;flex-wrap:wrap;gap:6px 14px;margin-bottom:10px">
{menus}
</div></div>
<canvas hidden role="img" aria-label="{alt}" style="max-width:100%"></canvas>
<img src="{picture}" alt="{alt}" width="{width}" height="{height}" \
style="display:block;max-width:100%;image-rendering:pixelated;border:1px solid #888" \
onload="{reveal}">
<p class="gdl-map-text" aria-live="polite" style="margin:8px 0 2px;color:#000">{alt}. \
Chapter: {chapter}.</p>
<p style="margin:0;color:#444;font-size:85%">One colour and number: one weight. White: zero. \
Hollow: the negative of the weight. Rows: outputs. Columns: inputs.</p>
</div>
"""
_MENU = (
    '<label style="display:flex;flex-direction:column;font-size:85%;color:#000">{field}'
    '<select style="min-height:32px;max-width:100%;font-size:16px;color:#000;background:#fff">'
    "</select></label>"
)


@dataclass(frozen=True, repr=False)
class Explorer:
    """Solved layers behind five menus: HTML that needs no file, no network and no widget.

    Front ends that run handlers show the menus; the others show the first layer and its sentence.
    :func:`~gdl.zoo.explorer` checks and makes one.

    Attributes:
        layers: all that can be chosen, the first one is shown at the start.

    Law tested: every layer is in the HTML with its pattern, equal layers give equal bytes, nothing
    comes from outside, there is no id and no script; in Chromium every choice leads to a layer.
    Chapter: ``zoo``.

    >>> from gdl.zoo import Assumptions, solve
    >>> shown = Explorer((solve(Assumptions("plane", "O(2)", "order 1", "order 1")),))
    >>> shown._repr_html_().count("<select")
    5
    """

    layers: tuple[Layer, ...]

    def __repr__(self) -> str:
        return f"Map of {len(self.layers)} layers, at first: {self.layers[0].sentence}"

    def _repr_html_(self) -> str:
        first = self.layers[0]
        rows, columns = first.pattern.shape
        cell = max(1, min(30, 320 // max(rows, columns)))
        return _MAP.format(
            data=html.escape(json.dumps(_table(self.layers), separators=(",", ":"))),
            choose=html.escape(_CHOOSE.replace("\n", "")),
            reveal=html.escape(_REVEAL.replace("\n", "")),
            menus="\n".join(_MENU.format(field=field.capitalize()) for field in FIELDS),
            alt=html.escape(first.sentence),
            chapter=first.chapter.replace("_", " "),
            picture="data:image/png;base64," + base64.b64encode(_png(first)).decode(),
            width=cell * columns,
            height=cell * rows,
        )


def explorer(layers: Iterable[Layer]) -> Explorer:
    """Solved layers as a map that a reader drives by menus.

    Args:
        layers: solved ones, at least one, no assumptions twice; the first is shown at the start.

    Returns:
        What a notebook shows when it is the last line of a cell.

    Raises:
        TypeError: something that is no Layer.
        ValueError: no layers, the same assumptions twice, or more than 200 kB of HTML.

    Law tested: as for :class:`~gdl.zoo.Explorer`. Chapter: ``zoo``.

    >>> from gdl.zoo import Assumptions, solve
    >>> explorer([solve(Assumptions("set", "all permutations", "points", "points"))])
    Map of 1 layers, at first: a set of 5 points, group all permutations, from points to points: \
Deep Sets layer; 2 free weights in 5 x 5 entries, 2 counted by orbits
    """
    if not isinstance(layers, Iterable):
        raise TypeError(f"layers: expected several, got {type(layers).__name__}")
    layers = tuple(layers)
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"layers: expected Layers, got {type(layer).__name__}")
    if not layers:
        raise ValueError("layers: expected at least one, got none")
    if len({layer.assumptions for layer in layers}) < len(layers):
        raise ValueError("layers: expected different assumptions, got some twice")
    result = Explorer(layers)
    size = len(result._repr_html_().encode())
    if size > EXPLORER_BYTES:
        raise ValueError(
            f"layers: expected at most {EXPLORER_BYTES} bytes of HTML, got {size}: take fewer"
        )
    return result


def _table(layers: tuple[Layer, ...]) -> dict:
    """All that the menus need, every word once."""
    words: dict[str, int] = {}

    def index(word: str) -> int:
        return words.setdefault(word, len(words))

    rows = [
        [
            *map(index, layer.assumptions.words),
            *layer.pattern.shape,
            layer.dimension,
            layer.counted,
            *map(index, (layer.route, layer.name, layer.chapter)),
            _codes(layer.pattern),
            _sizes(layer.pattern, layer.scale),
        ]
        for layer in layers
    ]
    shades = mpl.colormaps["viridis"](np.linspace(0, 1, STEPS))
    return {
        "what": {layer.assumptions.domain: layer.what for layer in layers},
        "words": list(words),
        "few": [_shade(color) for color in PALETTE],
        "many": [_shade(mpl.colors.to_hex(color)) for color in shades],
        "layers": rows,
    }


def _shade(color: str) -> tuple[str, int]:
    """A colour, and whether white letters are read better on it than black ones."""
    luminance = np.dot(mpl.colors.to_rgb(color), (0.2126, 0.7152, 0.0722))
    return color, int(luminance < 0.4)


def _codes(pattern: Tensor) -> str:
    """The weight of each entry, two digits of base 36."""
    return "".join(_base36(k) for k in pattern.abs().reshape(-1).tolist())


def _base36(k: int) -> str:
    return np.base_repr(k, 36).lower().rjust(2, "0")


def _sizes(pattern: Tensor, scale: Tensor) -> str:
    """The size of each entry in ninths, 9 more for a minus; nothing where all are 1."""
    if bool((pattern >= 0).all()) and bool((scale[pattern != 0] == 1).all()):
        return ""
    ninths = (9 * scale).round().clamp(1, 9).long() + 9 * (pattern < 0).long()
    return "".join(np.base_repr(k, 36).lower() for k in ninths.reshape(-1).tolist())


def _png(layer: Layer) -> bytes:
    """The pattern as a PNG, one pixel an entry; not compressed, so that its bytes never vary."""
    colors = [_shade(color)[0] for color in PALETTE]
    if layer.dimension > len(colors):
        steps = np.arange(layer.dimension) * 0.618034 % 1
        colors = [mpl.colors.to_hex(color) for color in mpl.colormaps["viridis"](steps)]
    palette = np.array([(1.0, 1.0, 1.0), *map(mpl.colors.to_rgb, colors)])
    pixels = (255 * palette[layer.pattern.abs().numpy()]).round().astype(np.uint8)
    rows, columns = layer.pattern.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", columns, rows, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, data) for name, data in parts)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
