// What people do with the package `@octokit/rest`, at a site of the sandbox: github_client.mjs URL.

import { Octokit } from "@octokit/rest";

const [url] = process.argv.slice(2);
const octokit = new Octokit({ auth: "t0k3n", baseUrl: url, log: { debug() {}, info() {}, warn() {}, error() {} } });
const repository = { owner: "octo", repo: "support" };

const made = (await octokit.rest.issues.create({
  ...repository, title: "By another client", body: "Hello", labels: ["bug"],
})).data;
const issue = { ...repository, issue_number: made.number };
const remark = (await octokit.rest.issues.createComment({ ...issue, body: "A remark" })).data;
await octokit.rest.issues.update({ ...issue, title: "Changed", state: "closed", state_reason: "not_planned" });
const shown = (await octokit.rest.issues.get(issue)).data;
const seen = {
  made: [made.number, made.title, made.labels.map((label) => label.name)],
  shown: [shown.title, shown.state, shown.state_reason],
  comments: (await octokit.rest.issues.listComments(issue)).data.map((comment) => comment.body),
  same: remark.html_url.startsWith(shown.html_url),
  open: (await octokit.paginate(octokit.rest.issues.listForRepo, { ...repository, state: "open" })).length,
  all: (await octokit.paginate(octokit.rest.issues.listForRepo, { ...repository, state: "all" })).length,
};
try {
  await octokit.rest.issues.create({ ...repository, title: "" });
} catch (error) {
  seen.refused = [error.status, error.response.data.errors[0].field];
}
try {
  await octokit.rest.issues.get({ ...repository, issue_number: 99 });
} catch (error) {
  seen.missing = error.status;
}
console.log(JSON.stringify(seen));
