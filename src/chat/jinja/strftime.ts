/** Python's datetime.strftime in the C locale, for a date without a time zone, with glibc's flags and widths. */

const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];

interface Field {
  readonly text: string;
  /** Digits that are filled up; 0 for words. */
  readonly width: number;
  readonly fill: "0" | " ";
}

const digits = (value: number, width: number, fill: "0" | " " = "0"): Field => ({ text: String(value), width, fill });
const word = (text: string): Field => ({ text, width: 0, fill: " " });

const dayOfYear = (d: Date): number =>
  Math.round((Date.UTC(d.getFullYear(), d.getMonth(), d.getDate()) - Date.UTC(d.getFullYear(), 0, 1)) / 86_400_000) + 1;

/** Week of the year, the first one beginning with the first day `firstDay` (0 = Sunday). */
const week = (d: Date, firstDay: 0 | 1): number =>
  Math.floor((dayOfYear(d) - 1 + 7 - ((d.getDay() - firstDay + 7) % 7)) / 7);

function isoWeek(d: Date): { year: number; week: number } {
  const weekday = (d.getDay() + 6) % 7;
  const number = Math.floor((dayOfYear(d) - 1 - weekday + 10) / 7);
  const year = d.getFullYear();
  if (number < 1) return { year: year - 1, week: weeksIn(year - 1) };
  return number > weeksIn(year) ? { year: year + 1, week: 1 } : { year, week: number };
}

function weeksIn(year: number): number {
  const starts = new Date(year, 0, 1).getDay();
  const ends = new Date(year, 11, 31).getDay();
  return starts === 4 || ends === 4 ? 53 : 52;
}

function field(d: Date, directive: string): Field | undefined {
  const hour12 = d.getHours() % 12 === 0 ? 12 : d.getHours() % 12;
  const composed = (format: string): Field => word(strftime(d, format));
  switch (directive) {
    case "a":
      return word(days[d.getDay()]!.slice(0, 3));
    case "A":
      return word(days[d.getDay()]!);
    case "b":
    case "h":
      return word(months[d.getMonth()]!.slice(0, 3));
    case "B":
      return word(months[d.getMonth()]!);
    case "c":
      return composed("%a %b %e %H:%M:%S %Y");
    case "C":
      return digits(Math.floor(d.getFullYear() / 100), 2);
    case "d":
      return digits(d.getDate(), 2);
    case "D":
    case "x":
      return composed("%m/%d/%y");
    case "e":
      return digits(d.getDate(), 2, " ");
    case "f":
      return digits(d.getMilliseconds() * 1000, 6);
    case "F":
      return composed("%Y-%m-%d");
    case "g":
      return digits(isoWeek(d).year % 100, 2);
    case "G":
      return digits(isoWeek(d).year, 4);
    case "H":
      return digits(d.getHours(), 2);
    case "I":
      return digits(hour12, 2);
    case "j":
      return digits(dayOfYear(d), 3);
    case "k":
      return digits(d.getHours(), 2, " ");
    case "l":
      return digits(hour12, 2, " ");
    case "m":
      return digits(d.getMonth() + 1, 2);
    case "M":
      return digits(d.getMinutes(), 2);
    case "n":
      return word("\n");
    case "p":
      return word(d.getHours() < 12 ? "AM" : "PM");
    case "P":
      return word(d.getHours() < 12 ? "am" : "pm");
    case "r":
      return composed("%I:%M:%S %p");
    case "R":
      return composed("%H:%M");
    case "s":
      return digits(Math.floor(d.getTime() / 1000), 1);
    case "S":
      return digits(d.getSeconds(), 2);
    case "t":
      return word("\t");
    case "T":
    case "X":
      return composed("%H:%M:%S");
    case "u":
      return digits(d.getDay() === 0 ? 7 : d.getDay(), 1);
    case "U":
      return digits(week(d, 0), 2);
    case "V":
      return digits(isoWeek(d).week, 2);
    case "w":
      return digits(d.getDay(), 1);
    case "W":
      return digits(week(d, 1), 2);
    case "y":
      return digits(d.getFullYear() % 100, 2);
    case "Y":
      return digits(d.getFullYear(), 1);
    case "z":
    case "Z":
      return word("");
    case "%":
      return word("%");
    default:
      return undefined;
  }
}

const maxWidth = 256;

/** @param date in local time */
export function strftime(date: Date, format: string): string {
  return format.replace(
    /%([-_0^#]?)(\d*)([EO]?)([a-zA-Z%])/g,
    (whole, flag: string, wide: string, _alt, name: string) => {
      const found = field(date, name);
      if (found === undefined) return whole;
      let { text } = found;
      if (flag === "^") text = text.toUpperCase();
      if (flag === "#") text = name === "p" ? text.toLowerCase() : text.toUpperCase();
      const fill = flag === "_" ? " " : flag === "0" ? "0" : found.width === 0 ? " " : found.fill;
      const width = flag === "-" ? 0 : Math.min(maxWidth, Math.max(found.width, Number(wide || 0)));
      return text.padStart(width, fill);
    },
  );
}
