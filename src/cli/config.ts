import { type Command, Option } from 'commander'
import { type ListedGraph, type ListedNode, listGraph } from '../services/composition/graph-listing.ts'
import { readGraph } from '../services/composition/read-graph.ts'
import { type QueueState, readQueueState } from '../services/write-queue.ts'
import { StoreError } from '../support/errors.ts'
import { REFUSED_SHOWN_MAX } from '../support/limits.ts'
import { drawGraph } from './config-svg.ts'
import {
  addStoreOptions,
  ownDaemonAddresses,
  type StoreOptions,
  storeAddresses,
  storeOrigins,
} from './store-options.ts'

interface ShowOptions extends StoreOptions {
  readonly json: boolean
  readonly svg: boolean
}

const HELP = `
Examples:
  $ tvix-store config show --store-composition ./store.toml
  $ tvix-store config show --svg > store.svg`

export function addConfigCommand(program: Command): void {
  const config = program.command('config').description('Look at how the services are put together.')
  const show = config
    .command('show')
    .description(
      'Print the services that the daemon would work with, what they stand on, who said so, and what waits to be uploaded; opens no store.',
    )
    .option('--json', 'one JSON document', false)
    .addOption(new Option('--svg', 'a drawing').default(false).conflicts('json'))
    .addHelpText('after', HELP)
    .action(runShow)
  addStoreOptions(show, ownDaemonAddresses())
}

async function runShow(options: ShowOptions, command: Command): Promise<void> {
  const graph = listGraph(await readGraph(storeAddresses(options), storeOrigins(command)))
  if (options.svg) return void process.stdout.write(drawGraph(graph))
  const queues = await listQueues(graph)
  const shown = queues.length > 0 ? { ...graph, queues } : graph
  if (options.json) process.stdout.write(`${JSON.stringify(shown, undefined, 2)}\n`)
  else process.stdout.write(printGraph(graph) + queues.map(printQueue).join(''))
}

/** What is written behind, of one queue. */
type ListedQueue = { readonly path: string } & (QueueState | { readonly failure: string })

/** All of a graph; they can be read while a daemon works on them. */
async function listQueues(graph: ListedGraph): Promise<ListedQueue[]> {
  const paths = new Set<string>()
  const collect = ({ kind, fields, references }: ListedNode): void => {
    const queue = kind === 'write-back' && fields.find(({ name }) => name === 'queue')
    if (queue) paths.add(queue.value)
    for (const { node } of references) collect(node)
  }
  for (const role of ['blobs', 'directories', 'pathInfos'] as const) collect(graph[role])
  return await Promise.all(Array.from(paths, listQueue))
}

async function listQueue(path: string): Promise<ListedQueue> {
  try {
    const none: QueueState = { waiting: 0, refused: 0, examples: [] }
    return { path, ...((await readQueueState(path, REFUSED_SHOWN_MAX)) ?? none) }
  } catch (error) {
    // What the graph is, is no less true.
    return { path, failure: StoreError.from(error).message }
  }
}

function printQueue(queue: ListedQueue): string {
  if ('failure' in queue) return `uploads in ${queue.path}: ${queue.failure}\n`
  const { path, waiting, refused, examples } = queue
  const lines = [`uploads in ${path}: ${waiting} waiting, ${refused} refused by the far side`]
  for (const { name, reason } of examples) lines.push(`  ${name}: ${reason}`)
  if (refused > examples.length) lines.push(`  and ${refused - examples.length} more`)
  return `${lines.join('\n')}\n`
}

function printGraph(graph: ListedGraph): string {
  const lines: string[] = []
  for (const [title, role] of [
    ['blobs', 'blobs'],
    ['directories', 'directories'],
    ['path infos', 'pathInfos'],
  ] as const) {
    lines.push(title)
    printNode(lines, graph[role], '  ', '')
  }
  return `${lines.join('\n')}\n`
}

function printNode(lines: string[], node: ListedNode, indent: string, field: string): void {
  const prefix = field === '' ? '' : `${field} = `
  lines.push(`${indent}${prefix}${node.kind}  ${node.label}  (${node.origin})`)
  for (const { name, value, origin } of node.fields) lines.push(`${indent}  ${name} = ${value}  (${origin})`)
  for (const reference of node.references) printNode(lines, reference.node, `${indent}  `, reference.field)
}
