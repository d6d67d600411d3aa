from fastapi import FastAPI
from sqladmin import Admin, ModelView
from sqlalchemy import Column, Integer, String, create_engine
from sqlalchemy.orm import declarative_base
from sqlalchemy.pool import NullPool

Base = declarative_base()
engine = create_engine("sqlite:///items.db", connect_args={"check_same_thread": False}, poolclass=NullPool)


class Item(Base):
    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    name = Column(String)


Base.metadata.create_all(engine)
app = FastAPI()
admin = Admin(app, engine)


class ItemAdmin(ModelView, model=Item):
    column_list = (Item.id, Item.name)


admin.add_view(ItemAdmin)
