import type { ListedGraph, ListedNode } from '../services/composition/graph-listing.ts'

/** Sizes in pixels of a drawing that is read at its own size. */
const BOX = { width: 300, height: 62, gapX: 70, gapY: 18 } as const
const MARGIN = 24
const TITLE_HEIGHT = 28
/** Characters of 12 px that fit into a box. */
const LINE_CHARACTERS = 40

const TITLES = { blobs: 'blobs', directories: 'directories', pathInfos: 'path infos' } as const

interface Placed {
  readonly node: ListedNode
  readonly x: number
  readonly y: number
}

interface Edge {
  readonly from: Placed
  readonly to: Placed
  readonly field: string
}

/** The graph as one SVG document: a row of boxes for each service, from what is asked to what it stands on. */
export function drawGraph(graph: ListedGraph): string {
  const drawing = new Drawing()
  for (const role of ['blobs', 'directories', 'pathInfos'] as const)
    drawing.section(TITLES[role], graph[role])
  return drawing.render(graph.source)
}

class Drawing {
  readonly #boxes: Placed[] = []
  readonly #edges: Edge[] = []
  readonly #titles: { readonly text: string; readonly y: number }[] = []
  #y = MARGIN + TITLE_HEIGHT
  #width = 0

  section(title: string, root: ListedNode): void {
    this.#titles.push({ text: title, y: this.#y + 14 })
    this.#y += TITLE_HEIGHT
    this.#place(root, 0)
    this.#y += TITLE_HEIGHT / 2
  }

  render(source: string): string {
    const [width, height] = [this.#width + MARGIN, this.#y + MARGIN]
    return [
      `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" role="img">`,
      `<title>${escaped(`store composition: ${source}`)}</title>`,
      '<style>rect{fill:#f6f8fa;stroke:#57606a}path{fill:none;stroke:#57606a}text{fill:#1f2328}.kind{font-weight:bold}.small{fill:#57606a;font-size:11px}@media (prefers-color-scheme:dark){rect{fill:#161b22;stroke:#8b949e}path{stroke:#8b949e}text{fill:#e6edf3}.small{fill:#8b949e}}</style>',
      ...this.#titles.map(
        ({ text, y }) => `<text x="${MARGIN}" y="${y}" font-size="15">${escaped(text)}</text>`,
      ),
      ...this.#edges.map(drawEdge),
      ...this.#boxes.map(drawBox),
      '</svg>',
      '',
    ].join('\n')
  }

  /** A box, with what it stands on to its right, from its own height downwards. */
  #place(node: ListedNode, depth: number): Placed {
    const placed = { node, x: MARGIN + depth * (BOX.width + BOX.gapX), y: this.#y }
    this.#boxes.push(placed)
    this.#width = Math.max(this.#width, placed.x + BOX.width)
    for (const { field, node: child } of node.references)
      this.#edges.push({ from: placed, to: this.#place(child, depth + 1), field })
    if (node.references.length === 0) this.#y += BOX.height + BOX.gapY
    return placed
  }
}

function drawBox({ node, x, y }: Placed): string {
  const details = node.fields.map(({ name, value }) => `${name} = ${value}`).join(', ')
  return [
    `<g><title>${escaped([node.label, details, node.origin].filter(Boolean).join('\n'))}</title>`,
    `<rect x="${x}" y="${y}" width="${BOX.width}" height="${BOX.height}" rx="6"/>`,
    `<text class="kind" x="${x + 10}" y="${y + 18}">${escaped(node.kind)}</text>`,
    `<text x="${x + 10}" y="${y + 36}">${escaped(shortened(node.label))}</text>`,
    `<text class="small" x="${x + 10}" y="${y + 53}">${escaped(shortened(details || node.origin))}</text></g>`,
  ].join('')
}

function drawEdge({ from, to, field }: Edge): string {
  const [startX, startY] = [from.x + BOX.width, from.y + BOX.height / 2]
  const [endX, endY] = [to.x, to.y + BOX.height / 2]
  const middle = startX + BOX.gapX / 2
  return `<path d="M${startX} ${startY}H${middle}V${endY}H${endX}"/><text class="small" text-anchor="end" x="${endX - 4}" y="${endY - 4}">${escaped(field)}</text>`
}

function shortened(text: string): string {
  return text.length <= LINE_CHARACTERS ? text : `${text.slice(0, LINE_CHARACTERS - 1)}…`
}

function escaped(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }
  return text.replace(/[&<>"]/g, (each) => entities[each]!)
}
