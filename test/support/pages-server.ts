/** The pages behind our HTTP server, with nothing else on it. */
import { createPages, type PagesParts } from '../../src/servers/http/pages/pages.ts'
import { createHttpServer } from '../../src/servers/http/server.ts'
import { silentLogger } from '../../src/support/log.ts'

export interface PagesServer extends AsyncDisposable {
  /** `http://127.0.0.1:<port>` */
  readonly origin: string
}

/** `roles`: of the listener, such as `no-list`. */
export async function startPagesServer(parts: Omit<PagesParts, 'logger'>, roles = ''): Promise<PagesServer> {
  const logger = silentLogger
  const pages = createPages({ logger, ...parts })
  const server = createHttpServer({
    handler: async (request) => (await pages.handle(request)) ?? pages.notFound(request),
    logger,
  })
  const address = await server.listen(`127.0.0.1:0${roles === '' ? '' : `?role=${roles}`}`)
  return {
    origin: `http://${address}`,
    async [Symbol.asyncDispose]() {
      pages.close()
      await server.shutdown(0)
    },
  }
}
