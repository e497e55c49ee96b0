import { render } from "preact";
import { App } from "./app.js";
import { startFeed } from "./feed.js";
import "./styles/theme.css";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/chat.css";
import "./styles/prose.css";

startFeed();
render(<App />, document.getElementById("app")!);
