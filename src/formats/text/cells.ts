/**
 * Makes the cells of a column, for every type that apache-arrow can read. docs/text-formats.md has the rules.
 *
 * @module
 */
import { type Data, type DataType, Type } from "apache-arrow";
import { DipcError, unexpected } from "../../errors.ts";
import { arrowTypeId } from "../../ipc/arrow_schema.ts";
import { type Cell, NULL_TOKENS, quoted, type TextForm, withNulls } from "./cell.ts";
import { quoteField } from "./characters.ts";
import { DictionaryCells } from "./dictionary_cells.ts";
import { fixedListCell, listCell, mapCell, structCell, unionCell } from "./nested_cells.ts";
import { decimalCell, floatCell, integerCell } from "./number_cells.ts";
import { Token } from "./output.ts";
import { binaryCell, textCell } from "./text_cells.ts";
import { dateCell, intervalCell, timeCell } from "./time_cells.ts";

const TRUE = new Token("true"), FALSE = new Token("false");

/** Makes the cells of the columns of one stream in one form. */
export class CellFactory {
  readonly #form: TextForm;
  readonly #nullToken: Token;
  readonly #dictionaries = new DictionaryCells();
  /** Makes the values inside nested ones. */
  readonly #json: CellFactory;

  /**
   * @param form What the cells are written for
   * @param isAlone Whether each line has one cell only
   */
  constructor(form: TextForm, isAlone = false) {
    this.#form = form;
    this.#nullToken = NULL_TOKENS[form === "csv" && isAlone ? "csv-alone" : form];
    this.#json = form === "json" ? this : new CellFactory("json");
  }

  /**
   * Makes the cell of a column. It must not be used after the batch has been disposed.
   *
   * @param data Values of the column in one batch
   * @param isSparse Whether few of them are written
   * @throws {DipcError} `unsupported` for a type that has no text
   */
  readonly cell = (data: Data, isSparse = false): Cell => {
    if (data.typeId === Type.Union || data.typeId === Type.Null) return this.#value(data, isSparse);
    return withNulls(data, this.#value(data, isSparse), this.#nullToken);
  };

  #value(data: Data, isSparse: boolean): Cell {
    const type = data.type as DataType;
    const id = arrowTypeId(type);
    switch (id) {
      case "null":
        return (out) => out.token(this.#nullToken);
      case "bool":
        return boolCell(data.values as Uint8Array);
      case "int":
        return integerCell(data);
      case "float":
        return floatCell(data, this.#form);
      case "decimal":
        return decimalCell(data, this.#form);
      case "utf8":
      case "large_utf8":
      case "utf8_view":
        return textCell(data, this.#form, isSparse);
      case "binary":
      case "large_binary":
      case "binary_view":
      case "fixed_size_binary":
        return binaryCell(data, this.#form);
      case "date":
        return this.#string(dateCell(data));
      case "time":
      case "timestamp":
      case "duration":
        return this.#string(timeCell(data));
      case "interval":
        return this.#string(intervalCell(data));
      case "list":
      case "large_list":
        return this.#nested(listCell(data, this.#json.cell));
      case "fixed_size_list":
        return this.#nested(fixedListCell(data, this.#json.cell));
      case "struct":
        return this.#nested(structCell(data, this.#json.cell));
      case "map":
        return this.#nested(mapCell(data, this.#json.cell));
      case "union":
        return this.#nested(unionCell(data, this.#json.cell));
      case "dictionary":
        return this.#dictionaries.cell(data, this.cell);
      case "list_view":
      case "large_list_view":
      case "run_end_encoded":
      case null:
        throw new DipcError(
          "unsupported",
          `cannot write values of type ${type} as text: they have no text form; write Arrow instead`,
        );
      default:
        return unexpected(id);
    }
  }

  /** ASCII text without anything that needs an escape. */
  #string(cell: Cell): Cell {
    return this.#form === "json" ? quoted(cell) : cell;
  }

  /** A value of JSON, which is a text in other forms. */
  #nested(cell: Cell): Cell {
    if (this.#form !== "csv") return cell;
    return (out, row) => {
      const from = out.at;
      cell(out, row);
      quoteField(out, from);
    };
  }
}

function boolCell(bitmap: Uint8Array): Cell {
  return (out, row) => out.token((bitmap[row >> 3] & (1 << (row & 7))) === 0 ? FALSE : TRUE);
}
