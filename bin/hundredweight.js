#!/usr/bin/env node
import { start } from "../dist/app/cli/start.js";

process.exitCode = await start(process.argv.slice(2));
