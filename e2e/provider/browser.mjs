// Headless Chromium for the tests, driven over standard input and output: `node browser.mjs`.
//
// One command a line on stdin, as JSON; one answer a line on stdout: {"done": VALUE} or {"failed": TEXT}. There is one
// page, in a profile of its own. Certificate errors are never ignored: what Chromium trusts is in the NSS store of HOME.
//
//   {"do": "goto", "url"}                 opens an address; gives the status of the page it ends at
//   {"do": "fill", "label", "value"}      fills the field with that label
//   {"do": "press", "button", "until"}    presses a button and waits for an address that begins with `until`
//   {"do": "follow", "link", "until"}     the same for a link
//   {"do": "text"}                        what the page shows
//   {"do": "url"}                         the address of the page
//   {"do": "cookies"}                     all cookies, as Playwright gives them
//   {"do": "screenshot", "path"}          writes a picture of the page
//   {"do": "look", "scheme", "width"}     shows pages light or dark, so many pixels wide
//   {"do": "barriers"}                    what of WCAG 2.2 A and AA the page breaks, as axe-core finds it

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

import { chromium } from 'playwright-core';

const TIMEOUT = 120_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

const browser = await chromium.launch({
  executablePath: '/usr/bin/chromium',
  headless: true,
  timeout: TIMEOUT,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--disable-quic',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
});
const context = await browser.newContext();
const page = await context.newPage();
page.setDefaultTimeout(TIMEOUT);

const commands = {
  goto: async ({ url }) => (await page.goto(url)).status(),
  fill: ({ label, value }) => page.getByLabel(label).fill(value),
  press: ({ button, until }) => activate(page.getByRole('button', { name: button, exact: true }), until),
  follow: ({ link, until }) => activate(page.getByRole('link', { name: link, exact: true }), until),
  text: () => page.locator('body').innerText(),
  url: () => page.url(),
  cookies: () => context.cookies(),
  screenshot: async ({ path }) => {
    await page.screenshot({ path, fullPage: true });
  },
  look: async ({ scheme, width }) => {
    await page.emulateMedia({ colorScheme: scheme });
    await page.setViewportSize({ width, height: 720 });
  },
  barriers: async () => {
    await page.evaluate(AXE);
    const found = await page.evaluate((rules) => axe.run({ runOnly: rules }), RULES);
    if (found.passes.length === 0) throw new Error('axe-core has checked nothing');
    return found.violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
  },
};

async function activate(element, until) {
  await Promise.all([page.waitForURL((url) => url.href.startsWith(until)), element.click()]);
}

async function answer(line) {
  const command = JSON.parse(line);
  try {
    return { done: (await commands[command.do](command)) ?? null };
  } catch (error) {
    return { failed: `${error.message} (at ${page.url()})` };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(line)));
}
await browser.close();
