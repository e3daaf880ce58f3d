// What people do with the package `jira.js`, at a site of the sandbox: jira_client.mjs URL.

import { Version2Client, Version3Client } from 'jira.js';

const host = process.argv[2];
const authentication = { basic: { email: 'bot@example.test', apiToken: 'token' } };
const three = new Version3Client({ host, authentication });
const two = new Version2Client({ host, authentication });
const document = (text) => ({
  type: 'doc', version: 1,
  content: [{ type: 'paragraph', content: [{ type: 'text', text }] }],
});

const seen = { me: (await three.myself.getCurrentUser()).displayName };
const made = await three.issues.createIssue({
  fields: {
    project: { key: 'SUP' }, issuetype: { name: 'Bug' }, summary: 'By jira.js',
    description: document('Hello'), labels: ['tkt-node'],
  },
});
const issueIdOrKey = made.key;
await three.issues.editIssue({ issueIdOrKey, fields: { summary: 'Changed' } });
await three.issueComments.addComment({ issueIdOrKey, comment: document('A remark') });
// The API's version 2 at Cloud takes texts.
const comment = await two.issueComments.addComment({ issueIdOrKey, comment: 'In text' });
seen.comment = (await two.issueComments.getComment({ issueIdOrKey, id: comment.id })).body;
const { transitions } = await three.issues.getTransitions({ issueIdOrKey });
const start = transitions.find((one) => one.to.name === 'In Progress');
await three.issues.doTransition({ issueIdOrKey, transition: { id: start.id } });
const jql = 'project = "SUP" AND labels = "tkt-node"';
const fields = ['summary', 'status'];
const shown = ({ issues }) =>
  issues.map((one) => [one.key, one.fields.summary, one.fields.status.name]);
const search = three.issueSearch;
seen.found = shown(await search.searchForIssuesUsingJqlEnhancedSearch({ jql, fields }));
seen.posted = shown(await search.searchForIssuesUsingJqlEnhancedSearchPost({ jql, fields }));
const one = await three.issues.getIssue({ issueIdOrKey });
seen.comments = one.fields.comment.comments.length;
seen.projects = (await three.projects.searchProjects()).values.map((project) => project.key);
// What Cloud has removed.
seen.refused = await two.issueSearch
  .searchForIssuesUsingJql({ jql })
  .then(() => null, (error) => error.status ?? error.response?.status);
console.log(JSON.stringify(seen));
