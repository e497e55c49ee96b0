import { render } from "preact";
import { App } from "./app.js";
import { startTitle } from "./done/title.js";
import { startFeed } from "./feed.js";
import "./styles/theme.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/chat.css";
import "./styles/prose.css";
import "./styles/touch.css";

startFeed();
startTitle();
render(<App />, document.getElementById("app")!);
