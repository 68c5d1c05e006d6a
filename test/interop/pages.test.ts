/** The pages for people in a real browser: without scripts, by keyboard, on a phone, in the dark, under attack. */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { ConsoleMessage, Page } from 'puppeteer-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { encodeName } from '../../src/servers/http/pages/links.ts'
import { HAS_CHROMIUM, startBrowser, type TestBrowser } from '../support/browser.ts'
import { run, until } from '../support/cli.ts'
import { type PagesServer, startPagesServer } from '../support/pages-server.ts'
import { HOSTILE_NAMES, type SampleStore, sampleStore } from '../support/pages-store.ts'
import { pseudoRandom } from '../support/pseudo-random.ts'
import { HAS_NIX } from '../support/requirements.ts'
import { tempDir } from '../support/temp-dir.ts'

/** Runs in the page: text that differs from what is behind it by less than WCAG 2 asks for (AA, 4.5). */
const ELEMENTS_OF_WEAK_CONTRAST = `(() => {
  const parts = (color) => color.match(/[0-9.]+/g).map(Number)
  const linear = (part) => (part / 255 <= 0.04045 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4)
  const luminance = (color) => {
    const [r, g, b] = parts(color).map(linear)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const behind = (element) => {
    const color = element ? getComputedStyle(element).backgroundColor : 'rgb(255, 255, 255)'
    return parts(color)[3] === 0 ? behind(element.parentElement) : color
  }
  const contrast = (element) => {
    const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind(element))]
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
  }
  return [...document.querySelectorAll('body *')]
    .filter((element) => element.textContent.trim() && contrast(element) < 4.5)
    .map((element) => element.outerHTML)
})()`

const name = HAS_CHROMIUM ? 'pages in Chromium' : 'pages in Chromium (chromium is not installed)'

describe.skipIf(!HAS_CHROMIUM)(name, { timeout: 120_000 }, () => {
  let store: SampleStore
  let server: PagesServer
  let browser: TestBrowser
  beforeAll(async () => {
    store = await sampleStore(1_000)
    server = await startPagesServer(store.parts)
    browser = await startBrowser()
  })
  afterAll(async () => {
    await browser?.[Symbol.asyncDispose]()
    await server?.[Symbol.asyncDispose]()
  })

  const go = (page: Page, path: string) => page.goto(`${server.origin}${path}`)
  const text = (page: Page, selector: string) => page.$eval(selector, (element) => element.textContent)
  /** Follows a link, as a click on it does. */
  const click = (page: Page, selector: string) =>
    Promise.all([page.waitForNavigation(), page.click(selector)])

  test('the overview of a thousand paths is one request, and nothing in it is refused', async () => {
    const page = await browser.page({ scripts: true })
    const requests: string[] = []
    const complaints: string[] = []
    page.on('request', (request) => requests.push(request.url()))
    page.on('console', (message: ConsoleMessage) => complaints.push(message.text()))
    await go(page, '/')
    expect(await text(page, 'h1')).toBe('1,002 store paths')
    expect(await page.$$('tbody tr')).toHaveLength(100)
    expect(requests).toEqual([`${server.origin}/`])
    expect(complaints).toEqual([])
  })

  test('from the overview to a file by keyboard, search and links, without scripts', async () => {
    const page = await browser.page()
    await go(page, '/')
    await page.keyboard.press('Tab')
    await page.keyboard.press('Tab')
    await page.keyboard.type('HELLO 2.12.1')
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')])
    expect(await text(page, 'h1')).toBe('1 path for “HELLO 2.12.1”')
    await click(page, 'tbody a')
    expect(await text(page, 'h1')).toBe('hello-2.12.1')
    expect(await page.title()).toBe('hello-2.12.1 – Nix store')
    await click(page, 'tbody a[href$="/share"]')
    await click(page, 'tbody a[href$="/doc"]')
    await click(page, 'tbody a[href$="/hello"]')
    await click(page, 'tbody a[href$="/README"]')
    expect(await text(page, 'pre')).toContain(`If a & b < c, say "hello" & 'hello'.`)
    await click(page, 'nav a')
    expect(await text(page, 'h1')).toBe('hello-2.12.1')
  })

  test('links through symlinks and into other store paths arrive', async () => {
    const page = await browser.page()
    await go(page, `/path/${store.rich.storePath}/lib`)
    await click(page, 'tbody a[href$="-bash-1.0.0/share"]')
    expect(await text(page, '.crumbs')).toBe('bash-1.0.0 / share')
    await go(page, `/path/${store.rich.storePath}/lib/doc/hello/README`)
    expect(page.url()).toBe(`${server.origin}/path/${store.rich.storePath}/share/doc/hello/README`)
  })

  test('pages of the overview lead through all of it', async () => {
    const page = await browser.page()
    await go(page, '/')
    const seen = new Set<string>()
    for (;;) {
      for (const href of await page.$$eval('tbody a', (links) => links.map((link) => link.href)))
        seen.add(href)
      if (!(await page.$('a[rel=next]'))) break
      await click(page, 'a[rel=next]')
    }
    expect(seen.size).toBe(1_002)
  })

  test('a file is saved and not shown', async () => {
    await using dir = await tempDir()
    const page = await browser.page()
    const session = await page.createCDPSession()
    await session.send('Browser.setDownloadBehavior', { behavior: 'allow', downloadPath: dir.path })
    await go(page, `/path/${store.rich.storePath}/bin/hello`)
    await page.click('a[download]')
    const saved = join(dir.path, 'hello')
    // It is there and empty before it comes.
    await until(() => existsSync(saved) && statSync(saved).size === 64 * 1024)
    const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
    expect(sha256(readFileSync(saved))).toBe(sha256(pseudoRandom(64 * 1024, 7)))
  })

  test.each(['light', 'dark'] as const)('in the %s, all text has enough contrast', async (scheme) => {
    const page = await browser.page({ scheme })
    for (const path of ['/', `/path/${store.rich.storePath}`, '/path/nope']) {
      await go(page, path)
      const weak = await page.evaluate(ELEMENTS_OF_WEAK_CONTRAST)
      expect(weak).toEqual([])
    }
  })

  test('the check of contrast itself sees grey on grey', async () => {
    const page = await browser.page()
    await page.setContent('<p style="color: #888; background: #777">x</p>')
    expect(await page.evaluate(ELEMENTS_OF_WEAK_CONTRAST)).toHaveLength(1)
  })

  test('light and dark differ', async () => {
    const backs = ['light', 'dark'].map(async (scheme) => {
      const page = await browser.page({ scheme: scheme as 'light' | 'dark' })
      await go(page, '/')
      return page.evaluate('getComputedStyle(document.body).backgroundColor')
    })
    expect(await Promise.all(backs)).toEqual(['rgb(255, 255, 255)', 'rgb(18, 22, 27)'])
  })

  test('on a phone nothing has to be scrolled sideways', async () => {
    const page = await browser.page({ width: 360, height: 700 })
    const { rich, hostile } = store
    const inside = ['', '/bin', '/bin/hello', '/share/doc/hello/README'].map(
      (inner) => `/path/${rich.storePath}${inner}`,
    )
    for (const path of [
      '/',
      '/search?q=gtk',
      ...inside,
      `/closure/${rich.storePath}`,
      `/path/${hostile.storePath}`,
      '/path/x',
    ]) {
      await go(page, path)
      expect(await page.$eval('html', (html) => html.scrollWidth), path).toBe(360)
    }
  })

  test('every field has a name and every table a caption and headers', async () => {
    const page = await browser.page()
    for (const path of ['/', `/path/${store.rich.storePath}`, `/closure/${store.rich.storePath}`]) {
      await go(page, path)
      expect(
        await page.$$('table:not(:has(caption)), table:not(:has(th[scope=col])), tr:not(:has(th))'),
      ).toEqual([])
      expect(await page.$$('input:not([aria-label])')).toEqual([])
      expect(await page.$$('h1')).toHaveLength(1)
    }
  })

  describe('names that are meant to break out, in a browser that runs scripts', () => {
    test('the check itself sees a page that is broken', async () => {
      const page = await browser.page({ scripts: true })
      await page.setContent('<title>x</title><script>document.title="broken"</script>')
      expect(await page.title()).toBe('broken')
    })

    test('run nothing, and lead where they should', async () => {
      const page = await browser.page({ scripts: true })
      const complaints: string[] = []
      page.on('console', (message: ConsoleMessage) => complaints.push(message.text()))
      const folder = `/path/${store.hostile.storePath}`
      await go(page, folder)
      expect(await page.title()).toBe('hostile-names-1.0 – Nix store')
      const links = await page.$$eval('tbody a', (found) => found.map((link) => link.href))
      expect(links.toSorted()).toEqual(
        HOSTILE_NAMES.map((one) => `${server.origin}${folder}/${encodeName(one)}`).toSorted(),
      )
      for (const link of links) {
        const response = await page.goto(link)
        expect(response?.status()).toBe(200)
        expect(await page.title()).not.toBe('broken')
        expect(await text(page, 'pre')).toContain('<script>')
        expect(await page.$$('script, img')).toEqual([])
      }
      expect(complaints).toEqual([])
    })

    test.each(['/search?q=', '/path/', `/x/`])('%s with markup runs nothing', async (place) => {
      const page = await browser.page({ scripts: true })
      await go(page, `${place}${encodeURIComponent('"><script>document.title="broken"</script>')}`)
      expect(await page.title()).not.toBe('broken')
      expect(await page.$$('script')).toEqual([])
    })
  })

  test('every link of the page of a path arrives, those into the binary cache too', async () => {
    const page = await browser.page()
    await go(page, `/path/${store.rich.storePath}`)
    const links = await page.$$eval('a', (found) => found.map((link) => link.href))
    expect(links.some((link) => link.endsWith('.narinfo'))).toBe(true)
    expect(links.some((link) => link.includes('/nar/tvix-castore/'))).toBe(true)
    for (const link of links) expect((await fetch(link)).status, link).toBe(200)
  })

  test.skipIf(!HAS_NIX)(
    'the command on the page of a path gets it and all it needs into a Nix store',
    async () => {
      await using dir = await tempDir()
      const page = await browser.page()
      await go(page, `/path/${store.rich.storePath}`)
      const command = await text(page, 'pre.copy')
      const { code, stderr } = await run('sh', ['-c', `${command} --store '${dir.path}'`])
      expect([code, stderr.includes('error')], stderr).toEqual([0, false])
      for (const path of [store.rich.storePath, ...store.rich.references])
        expect(existsSync(join(dir.path, path.absolutePath))).toBe(true)
    },
  )

  test('a listener that does not list shows no path, and leads to one that is named', async () => {
    await using quiet = await startPagesServer(store.parts, 'no-list')
    const page = await browser.page()
    await page.goto(`${quiet.origin}/`)
    expect(await page.$$('tbody a')).toEqual([])
    await page.type('input[name=q]', store.rich.storePath.absolutePath)
    await Promise.all([page.waitForNavigation(), page.keyboard.press('Enter')])
    expect(await text(page, 'h1')).toBe('hello-2.12.1')
  })
})
