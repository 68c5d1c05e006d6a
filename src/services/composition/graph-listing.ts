import { shownValue } from '../../support/secrets.ts'
import type { Graph, GraphNode, Origin } from './graph.ts'

/** One node of a graph for people and scripts: without secrets, and with references by label. */
export interface ListedNode {
  readonly role: string
  readonly kind: string
  readonly label: string
  /** `flag --blob-service-addr`, `environment BLOB_SERVICE_ADDR`, `default`, or `file:line`. */
  readonly origin: string
  readonly fields: readonly { readonly name: string; readonly value: string; readonly origin: string }[]
  readonly references: readonly { readonly field: string; readonly node: ListedNode }[]
}

export interface ListedGraph {
  readonly source: string
  readonly blobs: ListedNode
  readonly directories: ListedNode
  readonly pathInfos: ListedNode
}

export function listGraph(graph: Graph): ListedGraph {
  return {
    source: graph.describe,
    blobs: listNode(graph.blobs),
    directories: listNode(graph.directories),
    pathInfos: listNode(graph.pathInfos),
  }
}

function listNode(node: GraphNode): ListedNode {
  const origin = originText(node.origin)
  return {
    role: node.role,
    kind: node.kind,
    label: node.label,
    origin,
    fields: [...node.fields].map(([name, { value, place }]) => ({
      name,
      value: shownValue(name, value),
      origin: node.origin.from === 'file' ? placeText(place) : origin,
    })),
    references: [...node.references].flatMap(([field, nodes]) =>
      nodes.map((each, index) => ({
        field: nodes.length > 1 ? `${field}[${index}]` : field,
        node: listNode(each),
      })),
    ),
  }
}

function originText(origin: Origin): string {
  if (origin.from === 'default') return 'default'
  return origin.from === 'file' ? placeText(origin) : `${origin.from} ${origin.name}`
}

function placeText({ file, line }: { readonly file: string; readonly line: number | undefined }): string {
  return line === undefined ? file : `${file}:${line}`
}
