class AddAuthorToNotes < ActiveRecord::Migration[6.1]
  def change
    add_column :notes, :author, :text, null: false, default: "nobody"
  end
end
