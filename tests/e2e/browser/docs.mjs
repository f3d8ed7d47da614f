// node docs.mjs URL SUBJECT: opens the API's documentation page in Chromium, logs in at Hydra by the page's
// "Authorize" as SUBJECT, tries two operations, and prints what it saw as JSON. CHROMIUM is the browser's
// path; without it, one from npm is unpacked.
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";

const require = createRequire(`${process.env.PACKAGES}/`);
const { default: puppeteer } = await import(require.resolve("puppeteer-core"));
const executablePath = process.env.CHROMIUM || (await unpacked());

async function unpacked() {
  // This makes the package unpack the libraries that a browser needs, too.
  process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
  const { default: chromium } = await import(require.resolve("@sparticuz/chromium"));
  const whole = `${tmpdir()}/.whole`;
  if (!existsSync(whole)) {
    rmSync(tmpdir(), { recursive: true, force: true });
    mkdirSync(tmpdir(), { recursive: true });
    await chromium.executablePath();
    // The package's font configuration looks for fonts in /tmp only.
    const fonts = `${tmpdir()}/fonts`;
    const places = `<dir>${fonts}</dir><cachedir>${fonts}</cachedir>`;
    writeFileSync(`${fonts}/fonts.conf`, `<fontconfig>${places}</fontconfig>`);
    writeFileSync(whole, "");
  }
  return `${tmpdir()}/chromium`;
}

async function logIn(page, subject) {
  await page.click(".auth-wrapper .authorize");
  const oauth = await page.waitForSelector("::-p-xpath(//div[contains(@class, 'auth-container')][.//h4[contains(., 'oauth2')]])");
  const opened = new Promise((resolve) => page.once("popup", resolve));
  await (await oauth.waitForSelector("button.authorize")).click();
  const login = await opened;
  await (await login.waitForSelector("input[name=subject]")).type(subject);
  await login.click("button[value=accept]");
  await oauth.waitForSelector("::-p-xpath(.//button[contains(., 'Logout')])");
  await page.click(".btn-done");
}

async function tried(page, name) {
  const block = `#operations-${name}`;
  await page.click(`${block} .opblock-summary-control`);
  await (await page.waitForSelector(`${block} .try-out__btn`)).click();
  await (await page.waitForSelector(`${block} .execute`)).click();
  const live = `${block} .live-responses-table tbody`;
  await page.waitForSelector(`${live} .response-col_status`);
  const seen = (part) => page.$eval(`${live} ${part}`, (each) => each.textContent);
  return { status: await seen(".response-col_status"), body: await seen(".response-col_description") };
}

const browser = await puppeteer.launch({
  executablePath,
  headless: "shell",
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
});
try {
  const page = await browser.newPage();
  const asked = [];
  const complaints = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));
  await page.goto(process.argv[2], { waitUntil: "networkidle0" });
  await page.waitForSelector(".opblock");
  const operations = await page.$$eval(".opblock", (blocks) =>
    blocks.map((block) => {
      const text = (name) => block.querySelector(name).textContent.replace(/\u200b/g, "").trim();
      return `${text(".opblock-summary-method").toLowerCase()} ${text(".opblock-summary-path")}`;
    }),
  );
  await logIn(page, process.argv[3]);
  const account = await tried(page, "Accounts-listAccounts");
  const compose = await tried(page, "GGO-composeGgo");
  console.log(
    JSON.stringify({
      title: await page.title(),
      operations,
      account,
      compose,
      asked,
      complaints,
    }),
  );
} finally {
  await browser.close();
}
