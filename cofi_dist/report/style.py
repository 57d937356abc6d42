"""Hold the style of a page: for screens of any width, light or dark, and for paper."""

CSS = """
:root { color-scheme: light dark; --text: #1a1a1a; --back: #fff; --faint: #595959; --line: #ddd; --box:
  #f5f5f5;
  --mark: #0b57a4; --found: #0a6b3d }
body { max-width: 68rem; margin: 0 auto; padding: 1rem; color: var(--text); background: var(--back);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 } h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem
  }
h3 { font-size: 1rem; margin: 0 0 .25rem } p { margin: 0 0 .5rem } .faint, figcaption, footer { color:
  var(--faint) }
table { border-collapse: collapse } caption { text-align: left; padding-bottom: .25rem; font-weight: 600 }
th, td { padding: .25rem 1rem .25rem 0; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; overflow-wrap: normal }
td { overflow-wrap: anywhere } th { font-weight: 600 } thead th { color: var(--faint) }
td.number, th.number, .figures td { text-align: right; overflow-wrap: normal; white-space: nowrap;
  font-variant-numeric: tabular-nums }
.tiles { display: grid; gap: .75rem; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); margin:
  1rem 0;
  padding: 0 } .tiles > div { background: var(--box); border-radius: .4rem; padding: .6rem .8rem }
.tiles dt { color: var(--faint); font-size: .9rem } .tiles dd { margin: 0 }
.tiles .value { font-size: 1.5rem; line-height: 1.3; font-variant-numeric: tabular-nums }
.tables, .pictures { display: grid; gap: 1.5rem 2.5rem; align-items: start;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)) }
.tables { margin-top: 1.5rem }
.pictures { grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); margin-top: 1rem }
.pictures > figure, .tables > table { max-width: 33rem }
.pictures > .wide { grid-column: 1 / -1; max-width: none } .wide svg { max-width: 46rem }
figure { margin: 0; break-inside: avoid } svg { width: 100%; height: auto; display: block }
svg * { stroke-linejoin: round; stroke-linecap: butt } use:has(> title):hover { fill-opacity: .35 !important
  }
figcaption { font-size: .9rem }
.users { border: 0; margin: 0; padding: 0; min-width: 0 } .users legend { padding: 0 0 .5rem }
.users > input { position: absolute; opacity: 0 }
.users > label { display: inline-block; margin: 0 .4rem .5rem 0; padding: .2rem .7rem; cursor: pointer;
  border: 1px solid var(--line); border-radius: 1rem }
.users > input:checked + label { border-color: var(--mark); box-shadow: inset 0 0 0 1px var(--mark) }
.users > input:focus-visible + label { outline: 2px solid var(--mark); outline-offset: 2px }
.user { display: grid; gap: 1rem 2.5rem; align-items: start; margin-bottom: 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)) } .user h3 { grid-column: 1 / -1 }
.meaning { font-weight: 400 }
.found { color: var(--found); font-weight: 600; white-space: nowrap }
pre { margin: 0; padding: .75rem; background: var(--box); font-size: .8rem; line-height: 1.4; white-space:
  pre-wrap }
@media screen { pre { max-height: 26rem; overflow: auto; white-space: pre } }
footer { margin-top: 2rem; font-size: .85rem }
@media (max-width: 36rem) { th, td { padding-right: .6rem } th.number { white-space: normal }
  .meaning { display: block } }
@media (prefers-color-scheme: dark) { :root { --text: #e6e6e6; --back: #16181c; --faint: #a3a3a3; --line:
  #3a3d42;
  --box: #22252a; --mark: #7ab8ff; --found: #6fd39b } figure svg { filter: invert(.9) hue-rotate(180deg) } }
@media print { :root { color-scheme: light; --text: #000; --back: #fff; --faint: #444; --line: #bbb; --box:
  #fff; --mark: #000; --found: #000 } figure svg { filter: none }
  body { padding: 0; max-width: none; font-size: .66rem }
  .users > label { display: none } pre, .tiles > div { border: 1px solid var(--line) }
  h2, h3, caption { break-after: avoid } tr, .user { break-inside: avoid }
  th, td { padding-top: .1rem; padding-bottom: .1rem } h1 { font-size: 1.3rem }
  h2 { font-size: 1rem; margin-top: 1rem }
  .pictures, .tables, .user { grid-template-columns: 1fr 1fr; gap: .75rem 1.5rem } }
"""


def one_user_at_a_time(count: int) -> str:
    """Return the rules by which a screen shows the one of so many users that is chosen; paper shows all."""
    shown = ", ".join(f"#user-{k}:checked ~ #list-{k}" for k in range(count))
    return f"@media screen {{ .user {{ display: none }} {shown} {{ display: grid }} }}\n" if count else ""
