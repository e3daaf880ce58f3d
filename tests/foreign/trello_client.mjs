// What people do with the package trello.js, at a site of the sandbox: trello_client.mjs URL. It
// checks each answer against Trello's own description of it, and names all parameters in the query.
import { createTrelloClient } from 'trello.js';

const board = '5f0000000000000000000b01';
const client = (apiToken) =>
  createTrelloClient({ host: `${process.argv[2]}/1`, apiKey: 'k3y', apiToken });
const trello = client('ATTAt0k3n');

async function refused(call) {
  try {
    await call();
  } catch (error) {
    return error.message;
  }
  return null;
}

const me = await trello.members.getMember({ id: 'me', fields: 'username' });
const lists = await trello.boards.getBoardLists({ id: board });
const label = await trello.boards.createBoardLabel({ id: board, name: 'bug', color: 'red' });
const members = await trello.boards.getBoardMembers({ id: board });
const fields = await trello.boards.getBoardCustomFields({ id: board });
const made = await trello.cards.createCard({
  idList: lists[0].id, name: 'By another client', desc: 'In *text*', idLabels: [label.id], pos: 'top',
  idMembers: members.filter((one) => one.username === 'ann').map((one) => one.id),
});
await trello.cards.updateCard({ id: made.id, name: 'Changed', idList: lists[1].id });
const comment = await trello.cards.createCardComment({ id: made.shortLink, text: 'A remark' });
const [customer] = fields.filter((field) => field.type === 'text');
await trello.cards.updateCardCustomFields({
  idCard: made.id, customFieldItems: [{ idCustomField: customer.id, value: { text: 'ACME' } }],
});
const shown = await trello.cards.getCard({ id: made.id, fields: 'name,idList,labels' });
const gone = await trello.cards.createCard({ idList: lists[0].id, name: 'Soon gone' });
await trello.cards.deleteCard({ id: gone.id });
const actions = await trello.boards.getBoardActions({ boardId: board });
const newest = await trello.boards.getBoardActions({ boardId: board, limit: 1 });
const older = await trello.boards.getBoardActions({ boardId: board, before: newest[0].id, limit: 1 });
const open = await trello.boards.getBoardCards({ id: board });
await trello.cards.updateCard({ id: made.id, closed: true });
const visible = await trello.boards.getBoardCards({ id: board });
const closed = await trello.boards.getBoardCardsByFilter({ id: board, filter: 'closed' });
const [part] = await trello.batch.run((all) => [all.cards.getCard({ id: made.id })]);

console.log(JSON.stringify({
  me: me.username,
  shown: [shown.name, shown.idList === lists[1].id, shown.labels.map((one) => one.name), shown.desc ?? null],
  comment: comment.data.text,
  actions: actions.map((action) => action.type),
  pages: [newest[0].type, older[0].type],
  cards: [open.length, visible.length, closed.length],
  part: [part.name, part.closed],
  refused: [
    await refused(() => trello.cards.createCard({ idList: made.id, name: 'Nowhere' })),
    await refused(() => trello.cards.createCard({ idList: lists[0].id, idLabels: [made.id] })),
    await refused(() => trello.cards.getCard({ id: gone.id })),
    await refused(() => trello.batch.run((all) => [all.cards.getCard({ id: gone.id })])),
    await refused(() => trello.cards.getCard({ id: 'none' })),
    await refused(() => client('wrong').members.getMember({ id: 'me' })),
    await refused(() => client('forbidden').cards.deleteCard({ id: made.id })),
  ],
}));
